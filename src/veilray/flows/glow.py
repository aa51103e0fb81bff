"""Glow with a fixed standard normal prior at every level: images to independent normals, and back.

References:
    Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018).
    Local Differential Privacy Image Generation Using Flow-Based Deep Generative Models (Shibata et al., 2023,
    Applied Sciences 13(18), 10132): fixed priors, bounded scale, deterministic encoding.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import Tensor, nn

from veilray.flows.base import Flow, Images
from veilray.flows.engine import FoldCache, Folded, decode_step, encode_step, fold
from veilray.flows.latent import Latent
from veilray.flows.layers import Squeeze, Step, join, leave
from veilray.flows.quantisation import as_tensor, bin_centres, dequantise, integer_dtype, to_integers

__all__ = ["Glow", "GlowConfig"]

CHUNK_PIXELS = 64 * 32 * 32
"""Images are encoded and decoded in chunks of about this many pixels: large enough to keep the cores busy,
small enough that activations stay at some tens of megabytes."""


@dataclass(frozen=True)
class GlowConfig:
    """The shape of a Glow.

    Args:
        size: height and width of the images, in pixels; divisible by 2**levels.
        channels: colour channels, 1 or more.
        bits: bits a pixel, 1 to 16: uint8 images up to 8, uint16 above.
        levels: number of resolutions, L.
        steps: steps of flow a level, K.
        width: hidden channels of the coupling nets.

    Raises:
        ValueError: when a value is outside its range.
    """

    size: int
    channels: int = 1
    bits: int = 8
    levels: int = 3
    steps: int = 8
    width: int = 128

    def __post_init__(self) -> None:
        for name, lowest in (("channels", 1), ("levels", 1), ("steps", 1), ("width", 1), ("size", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ValueError(f"{name} must be a whole number of {lowest} or more, got {value!r}")
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 16:
            raise ValueError(f"bits must be a whole number from 1 to 16, got {self.bits!r}")
        if self.size % 2**self.levels:
            fitting = (self.size & -self.size).bit_length() - 1
            cure = f"use --levels {fitting}" if fitting else "use --size with an even number"
            raise ValueError(f"size must be divisible by 2**levels = {2**self.levels}, got {self.size}: {cure}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, size, size)` of an image."""
        return self.channels, self.size, self.size

    @property
    def dimension(self) -> int:
        """Number of latent elements, and of pixels times channels."""
        return self.channels * self.size * self.size

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """`(channels, height, width)` of each level of the latent, finest first."""
        shapes = [
            (self.channels * 2**level, self.size // 2**level, self.size // 2**level) for level in range(1, self.levels)
        ]
        last = self.size // 2**self.levels
        return (*shapes, (self.channels * 2 ** (self.levels + 1), last, last))

    def to_dict(self) -> dict[str, int]:
        """Return the six numbers, for JSON."""
        return cast("dict[str, int]", asdict(self))


class Glow(Flow):
    """A Glow as an `Encoder` of integer images, and as a `Flow` from `(n, c, h, w)` to `(n, dimension)`.

    Every latent at every level has the fixed prior N(0, I). A new flow is random in its rotations only, drawn
    from `seed`; `initialise` sets its ActNorms from the first training batch.

    Example:
        >>> flow = Glow(GlowConfig(size=8, levels=2, steps=2, width=8))
        >>> images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
        >>> bool((flow.decode(flow.encode(images)) == images).all())
        True
    """

    levels: nn.ModuleList

    def __init__(self, config: GlowConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        self.squeeze = Squeeze()
        self.levels = nn.ModuleList(
            nn.ModuleList(
                Step(config.channels * 2 ** (level + 2), config.width, generator) for _ in range(config.steps)
            )
            for level in range(config.levels)
        )
        self._cache = FoldCache()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    # The flow: continuous images to flat latents.

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters, and so of the latents."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def forward(self, x: Tensor) -> Tensor:
        """Return the flat latent `(n, dimension)` of continuous images `(n, c, h, w)`."""
        return Latent(tuple(self._encode(x, ladj=False)[0])).flat()

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flat latent and log |det dy/dx| `(n,)` in nats."""
        parts, total = self._encode(x, ladj=True)
        return Latent(tuple(parts)).flat(), total

    def inverse(self, y: Tensor) -> Tensor:
        """Return the continuous images `(n, c, h, w)` of flat latents."""
        return self._decode(Latent.from_flat(y, self.config.latent_shapes))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density `(n,)` in nats of continuous images."""
        parts, total = self._encode(x, ladj=True)
        for part in parts:
            total = total - 0.5 * part.square().sum(dim=(1, 2, 3))
        return total - 0.5 * math.log(2 * math.pi) * self.config.dimension

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set every ActNorm from a batch of continuous images; those set before keep their values."""
        for index, level in enumerate(self._steps()):
            x = self.squeeze(x)
            for step in level:
                x = step.initialise(x)
            if index < self.config.levels - 1:
                x, _ = leave(x)

    # The encoder: integer images to latents.

    @torch.no_grad()
    def encode(self, images: Images) -> Latent:
        """Encode integer images, each pixel at the centre of its bin: deterministic, row by row.

        Args:
            images: `(n, channels, size, size)`, uint8 up to 8 bits and uint16 above; tensor or array.

        Returns:
            The latent, in the dtype of the model, on the device of the model.

        Raises:
            ValueError: for another shape or dtype.
        """
        tensor = as_tensor(images, self.config.shape, self.config.bits)
        parts: list[list[Tensor]] = [[] for _ in self.config.latent_shapes]
        folded = self._folded()
        for chunk in torch.split(tensor, self._chunk()):
            x = bin_centres(chunk.to(self.device), self.config.bits, self.dtype)
            for collected, part in zip(parts, self._encode(x, ladj=False, folded=folded)[0], strict=True):
                collected.append(part)
        if not len(tensor):
            return Latent.from_flat(
                torch.zeros(0, self.config.dimension, dtype=self.dtype, device=self.device),
                self.config.latent_shapes,
            )
        return Latent(tuple(torch.cat(collected) for collected in parts))

    @torch.no_grad()
    def decode(self, latent: Latent) -> Tensor:
        """Decode any latent to integer images; what falls outside the grey levels is clamped.

        Returns:
            `(n, channels, size, size)`, uint8 up to 8 bits and uint16 above. `decode(encode(images))` is
            `images`, exactly.

        Raises:
            ValueError: when the level shapes are not those of the model.
        """
        if latent.shapes != self.config.latent_shapes:
            raise ValueError(f"latent shapes must be {self.config.latent_shapes}, got {latent.shapes}")
        size, folded = self._chunk(), self._folded()
        images = [
            to_integers(self._decode(latent[start : start + size], folded), self.config.bits)
            for start in range(0, len(latent), size)
        ]
        if not images:
            return torch.zeros(0, *self.config.shape, dtype=integer_dtype(self.config.bits))
        return torch.cat(images)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n integer images from the model: latents from N(0, temperature**2 I), decoded.

        For experiments: the generator is torch's, not one fit for a release.
        """
        if temperature < 0:
            raise ValueError(f"temperature must be 0 or more, got {temperature}")
        flat = temperature * torch.randn(n, self.config.dimension, generator=generator, dtype=self.dtype)
        return self.decode(Latent.from_flat(flat, self.config.latent_shapes))

    @torch.no_grad()
    def bits_per_dimension(self, images: Images, seed: int = 0) -> Tensor:
        """Return -log2 of the likelihood of integer images, a pixel and channel: `(n,)`, in bits.

        Uniform dequantisation draws one point of each bin from `seed`; the figure is an upper bound on the
        model's code length.
        """
        tensor = as_tensor(images, self.config.shape, self.config.bits)
        generator = torch.Generator().manual_seed(seed)
        bits = [
            self.loss(dequantise(chunk, self.config.bits, self.dtype, generator).to(self.device))
            for chunk in torch.split(tensor, self._chunk())
        ]
        return torch.cat(bits) if bits else torch.zeros(0)

    def loss(self, x: Tensor) -> Tensor:
        """Return bits per dimension `(n,)` of dequantised images: what training lowers."""
        return self.config.bits - self.log_prob(x) / (math.log(2) * self.config.dimension)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of repr()."""
        return ", ".join(f"{name}={value}" for name, value in self.config.to_dict().items())

    def __repr__(self) -> str:
        return f"Glow({self.extra_repr()})"

    # The passes behind both.

    def _steps(self) -> list[list[Step]]:
        return [[cast("Step", step) for step in cast("nn.ModuleList", level)] for level in self.levels]

    def _chunk(self) -> int:
        return max(1, CHUNK_PIXELS // self.config.size**2)

    def _folded(self, *, inverse: bool = True) -> list[list[Folded]]:
        """Fold every step: kept from before where autograd is off, differentiably where it is on."""
        if torch.is_grad_enabled():
            return [[fold(step, inverse=inverse) for step in level] for level in self._steps()]
        return [[self._cache.get(step) for step in level] for level in self._steps()]

    def _encode(
        self, x: Tensor, *, ladj: bool, folded: list[list[Folded]] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        folded = folded or self._folded(inverse=False)
        total = x.new_zeros(len(x))
        parts: list[Tensor] = []
        for index, (level, steps) in enumerate(zip(folded, self._steps(), strict=True)):
            x = self.squeeze(x)
            for matrices, step in zip(level, steps, strict=True):
                x, change = encode_step(matrices, x, step.coupling.kept, ladj=ladj)
                if change is not None:
                    total = total + change
            if index < self.config.levels - 1:
                x, out = leave(x)
                parts.append(out)
        return [*parts, x], total

    def _decode(self, latent: Latent, folded: list[list[Folded]] | None = None) -> Tensor:
        folded = folded or self._folded()
        parts = [part.to(self.device, self.dtype) for part in latent.levels]
        x = parts.pop()
        for index, (level, steps) in enumerate(zip(reversed(folded), reversed(self._steps()), strict=True)):
            if index:
                x = join(x, parts.pop())
            x = x.contiguous(memory_format=torch.channels_last)
            for matrices, step in zip(reversed(level), reversed(steps), strict=True):
                x = decode_step(matrices, x, step.coupling.kept)
            x = self.squeeze.inverse(x)
        return x
