"""The passes of a multi-scale flow, both ways, for continuous and for integer images.

Glow and the conditional Glow are two faces of these passes. They share every line that touches an image.

References:
    Density estimation using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017), section 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from veilray.flows.base import Images
from veilray.flows.condition import Condition
from veilray.flows.config import GlowConfig
from veilray.flows.engine import FoldCache, Folded, decode_step, encode_step, fold
from veilray.flows.latent import Latent
from veilray.flows.layers import COUPLINGS, DOWNSAMPLINGS, Given, Step, join, leave
from veilray.flows.quantisation import as_tensor, bin_centres, dequantise, integer_dtype, to_integers

__all__ = ["MultiScale"]

CHUNK_PIXELS = 64 * 32 * 32
"""Images are encoded and decoded in chunks of about this many pixels: large enough to keep the cores busy,
small enough that activations stay at some tens of megabytes."""


class MultiScale(nn.Module):
    """Levels of steps, each level at half the resolution of the one before.

    A subclass says by `_tell` what the coupling nets are told of a condition. Conditions that arrive here
    have been checked: one row an image, in the dtype and on the device of the model.

    Args:
        config: the shape of the flow.
        generator: of the rotations and of the coupling nets' first weights.
        maps: channels that a condition adds to the input of each coupling net.
    """

    levels: nn.ModuleList

    def __init__(self, config: GlowConfig, generator: torch.Generator, maps: int = 0) -> None:
        super().__init__()
        self.config = config
        self.squeeze = DOWNSAMPLINGS[config.downsampling]()
        coupling = COUPLINGS[config.coupling]
        self.levels = nn.ModuleList(
            nn.ModuleList(
                Step(config.channels * 2 ** (level + 2), config.width, generator, maps, coupling)
                for _ in range(config.steps)
            )
            for level in range(config.levels)
        )
        self._cache = FoldCache()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters, and so of the latents."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """Return what stands between the brackets of repr()."""
        return ", ".join(f"{name}={value}" for name, value in self.config.to_dict().items())

    def _tell(self, condition: Condition | None) -> Sequence[Sequence[Given | None]]:
        """Return what each step of each level is told of the condition: nothing, unless a subclass knows more."""
        del condition
        return [[None] * self.config.steps] * self.config.levels

    # Continuous images.

    def _encode(
        self, x: Tensor, condition: Condition | None = None, *, ladj: bool, folded: list[list[Folded]] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        folded = folded or self._folded(inverse=False)
        total = x.new_zeros(len(x))
        parts: list[Tensor] = []
        levels = zip(folded, self._steps(), self._tell(condition), strict=True)
        for index, (level, steps, told) in enumerate(levels):
            x = self.squeeze(x)
            for matrices, step, given in zip(level, steps, told, strict=True):
                x, change = encode_step(matrices, x, step.coupling, given, ladj=ladj)
                if change is not None:
                    total = total + change
            if index < self.config.levels - 1:
                x, out = leave(x)
                parts.append(out)
        return [*parts, x], total

    def _decode(
        self, latent: Latent, condition: Condition | None = None, folded: list[list[Folded]] | None = None
    ) -> Tensor:
        folded = folded or self._folded()
        parts = [part.to(self.device, self.dtype) for part in latent.levels]
        x = parts.pop()
        levels = zip(reversed(folded), reversed(self._steps()), reversed(self._tell(condition)), strict=True)
        for index, (level, steps, told) in enumerate(levels):
            if index:
                x = join(x, parts.pop())
            # Channels last in memory, by a way that torch.func.vmap can follow.
            x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
            for matrices, step, given in zip(reversed(level), reversed(steps), reversed(told), strict=True):
                x = decode_step(matrices, x, step.coupling, given)
            x = self.squeeze.inverse(x)
        return x

    def _log_prob(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        parts, total = self._encode(x, condition, ladj=True)
        for part in parts:
            total = total - 0.5 * part.square().sum(dim=(1, 2, 3))
        return total - 0.5 * math.log(2 * math.pi) * self.config.dimension

    def _loss(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self.config.bits - self._log_prob(x, condition) / (math.log(2) * self.config.dimension)

    @torch.no_grad()
    def _initialise(self, x: Tensor, condition: Condition | None = None) -> None:
        for index, (steps, told) in enumerate(zip(self._steps(), self._tell(condition), strict=True)):
            x = self.squeeze(x)
            for step, given in zip(steps, told, strict=True):
                x = step.initialise(x, given)
            if index < self.config.levels - 1:
                x, _ = leave(x)

    # Integer images, in chunks.

    @torch.no_grad()
    def _encode_integers(self, images: Images, condition: Condition | None = None) -> Latent:
        tensor = as_tensor(images, self.config.shape, self.config.bits)
        parts: list[list[Tensor]] = [[] for _ in self.config.latent_shapes]
        folded = self._folded()
        for rows in self._chunks(len(tensor)):
            x = bin_centres(tensor[rows].to(self.device), self.config.bits, self.dtype)
            encoded, _ = self._encode(x, _take(condition, rows), ladj=False, folded=folded)
            for collected, part in zip(parts, encoded, strict=True):
                collected.append(part)
        if not len(tensor):
            return Latent.from_flat(
                torch.zeros(0, self.config.dimension, dtype=self.dtype, device=self.device),
                self.config.latent_shapes,
            )
        return Latent(tuple(torch.cat(collected) for collected in parts))

    @torch.no_grad()
    def _decode_integers(self, latent: Latent, condition: Condition | None = None) -> Tensor:
        if latent.shapes != self.config.latent_shapes:
            raise ValueError(f"latent shapes must be {self.config.latent_shapes}, got {latent.shapes}")
        folded = self._folded()
        images = [
            to_integers(self._decode(latent[rows], _take(condition, rows), folded), self.config.bits)
            for rows in self._chunks(len(latent))
        ]
        if not images:
            return torch.zeros(0, *self.config.shape, dtype=integer_dtype(self.config.bits))
        return torch.cat(images)

    @torch.no_grad()
    def _sample(
        self, n: int, generator: torch.Generator | None, temperature: float, condition: Condition | None = None
    ) -> Tensor:
        if temperature < 0:
            raise ValueError(f"temperature must be 0 or more, got {temperature}")
        flat = temperature * torch.randn(n, self.config.dimension, generator=generator, dtype=self.dtype)
        return self._decode_integers(Latent.from_flat(flat, self.config.latent_shapes), condition)

    @torch.no_grad()
    def _bits_per_dimension(self, images: Images, seed: int, condition: Condition | None = None) -> Tensor:
        tensor = as_tensor(images, self.config.shape, self.config.bits)
        generator = torch.Generator().manual_seed(seed)
        bits = []
        for rows in self._chunks(len(tensor)):
            x = dequantise(tensor[rows], self.config.bits, self.dtype, generator).to(self.device)
            bits.append(self._loss(x, _take(condition, rows)))
        return torch.cat(bits) if bits else torch.zeros(0)

    # Steps, and what is kept of them.

    def _steps(self) -> list[list[Step]]:
        return [[cast("Step", step) for step in cast("nn.ModuleList", level)] for level in self.levels]

    def _chunks(self, n: int) -> list[slice]:
        size = max(1, CHUNK_PIXELS // self.config.size**2)
        return [slice(start, start + size) for start in range(0, n, size)]

    def _folded(self, *, inverse: bool = True) -> list[list[Folded]]:
        """Fold every step: kept from before where autograd is off, differentiably where it is on."""
        if torch.is_grad_enabled():
            return [[fold(step, inverse=inverse) for step in level] for level in self._steps()]
        return [[self._cache.get(step) for step in level] for level in self._steps()]


def _take(condition: Condition | None, rows: slice) -> Condition | None:
    return None if condition is None else condition[rows]
