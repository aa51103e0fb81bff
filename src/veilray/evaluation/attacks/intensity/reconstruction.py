"""Reconstruction by a network: a small U-Net trained on pairs of originals and what became of them.

The two attack configurations of Popescu et al. (2022, Applied Sciences 12(8), 3997) differ in whether the attacker
knows the kind of the target's content: `informed` trains on pairs of that kind, `uninformed` on pairs of another, both
obfuscated under keys of the attacker's own. `same-key` is the stronger case of pairs under the targets' key. Their
network is not known to us; this one is a U-Net (Ronneberger, Fischer and Brox 2015) of 0.3 M parameters.

Under a random map the number of a level means nothing, so each pixel also comes with the set of pixels that share its
level (`cloud.level_sets`: the attacker reads as the cloud does), and in `same-key` with a learned vector for its level.
What the network makes is added to a direct way from level to grey value: a learned table in `same-key`, else a factor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from veilray.cloud.level_sets import LEVELS, TOLD, level_sets
from veilray.evaluation.attacks.intensity.base import (
    ATTACKS_ON_PICTURES,
    SETTINGS,
    Images,
    KnownPairs,
    PictureAttack,
    Reconstruction,
    View,
)
from veilray.networks.blocks import convolution, seeded
from veilray.networks.loop import Loop, one_cycle

__all__ = ["UNetReconstruction"]

_BATCH = 16
_WIDTH = 32
_VECTOR = 6
"""Numbers that a level is told by in `same-key`."""
_RATE = 3e-3
_TOGETHER = 64
_DIRECT_RATE = 10
"""How much faster the direct way learns: it is a handful of numbers, and has to forget the identity."""
_CONTROL_SHARE = 4
"""The positive control trains for a quarter of the steps: a network that starts by copying need not learn to."""


@ATTACKS_ON_PICTURES.register("u-net")
@dataclass(frozen=True)
class UNetReconstruction(PictureAttack):
    """Train on the view's pairs, then reconstruct every target.

    Attributes:
        steps: of 16 pairs each. 64 x 64 pictures: about 1 minute for 400 on one core; time grows with the pixels.
        most_pairs: pairs used at most, the first ones.
    """

    name: ClassVar[str] = "u-net"
    knowledge: ClassVar[str] = "known pairs, under own keys or the targets' (see setting)"

    steps: int = 400
    most_pairs: int = 500

    def __post_init__(self) -> None:
        if self.steps < 1 or self.most_pairs < 1:
            raise ValueError(f"steps and most_pairs must be at least 1, got {self.steps} and {self.most_pairs}")

    @property
    def protocol(self) -> str:
        return f"U-Net trained on up to {self.most_pairs} pairs for {self.steps} steps, L1 + SSIM loss"

    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Train and reconstruct.

        Raises:
            ValueError: for a view without pairs.
        """
        return self._trained(view, rng, self.steps)

    def control(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """The same on unobfuscated pairs, with a quarter of the steps."""
        return self._trained(view, rng, max(1, self.steps // _CONTROL_SHARE))

    def _trained(self, view: View, rng: np.random.Generator, steps: int) -> Reconstruction:
        if view.pairs is None or not len(view.pairs):
            raise ValueError(
                f"known pairs must be given for {self.name}, got none: {SETTINGS[view.setting]}; "
                "give --model, or --setting same-key"
            )
        network = _train(view.pairs.first(self.most_pairs), view.setting == "same-key", steps, rng)
        images = [
            _predicted(network, view.obfuscated[first : first + _TOGETHER])
            for first in range(0, len(view.obfuscated), _TOGETHER)
        ]
        return Reconstruction(np.concatenate(images), np.arange(len(view.obfuscated)))


class _UNet(nn.Module):
    """Three scales, the finest at half the picture's sides: pixels are folded into channels first and last."""

    def __init__(self, channels: int, by_level: bool) -> None:
        super().__init__()
        self.vectors = nn.Embedding(LEVELS, _VECTOR) if by_level else None
        # The direct way from a level to a grey value; at first the identity, as if nothing were obfuscated.
        self.direct = nn.Parameter(torch.arange(LEVELS) / (LEVELS - 1) if by_level else torch.ones(()))
        seen = channels * (1 + TOLD + (_VECTOR if by_level else 0))
        wide, wider, widest = _WIDTH, 2 * _WIDTH, 2 * _WIDTH
        self.fine, self.middle, self.coarse = _block(4 * seen, wide), _block(wide, wider), _block(wider, widest)
        self.up_middle, self.up_fine = _block(widest + wider, wider), _block(wider + wide, wide)
        self.out = nn.Conv2d(wide, 4 * channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, levels: Tensor) -> Tensor:
        """`(n, c, h, w)` int64 levels to pictures in [0, 1], about; any size from 8."""
        height, width = levels.shape[2:]
        padded = F.pad(levels.float(), (0, -width % 8, 0, -height % 8), mode="replicate").long()
        fine = self.fine(F.pixel_unshuffle(self._seen(padded), 2))
        middle = self.middle(F.avg_pool2d(fine, 2))
        coarse = self.coarse(F.avg_pool2d(middle, 2))
        middle = self.up_middle(torch.cat([F.interpolate(coarse, scale_factor=2.0), middle], dim=1))
        fine = self.up_fine(torch.cat([F.interpolate(middle, scale_factor=2.0), fine], dim=1))
        plain = levels / (LEVELS - 1) * self.direct if self.vectors is None else self.direct[levels]
        return plain + F.pixel_shuffle(self.out(fine), 2)[..., :height, :width]

    def _seen(self, levels: Tensor) -> Tensor:
        """What a pixel comes with: its level, and what is told of the set of pixels that share it."""
        n, _, height, width = levels.shape
        parts = [levels.float() / 127.5 - 1, level_sets(levels)]
        if self.vectors is not None:
            parts.append(self.vectors(levels).permute(0, 1, 4, 2, 3).reshape(n, -1, height, width))
        return torch.cat(parts, dim=1)


def _block(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(*convolution(into, out), *convolution(out, out))


def _train(pairs: KnownPairs, by_level: bool, steps: int, rng: np.random.Generator) -> _UNet:
    """A network trained on pairs: L1 + (1 - SSIM), AdamW under one cycle of the rate; weights from `rng` alone."""
    network = seeded(lambda: _UNet(pairs.originals.shape[1], by_level), int(rng.integers(2**63)))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    others = [parameter for parameter in network.parameters() if parameter is not network.direct]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": [network.direct], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=_RATE, weight_decay=0.01)

    def batches(epoch: int) -> Iterator[NDArray[np.int64]]:
        del epoch
        for _ in range(steps):
            yield rng.permutation(len(pairs))[:_BATCH] if len(pairs) > 1 else np.array([0, 0])

    def loss(rows: NDArray[np.int64]) -> Tensor:
        truth = torch.from_numpy(pairs.originals[rows].astype(np.float32) / 255)
        guess = network(torch.from_numpy(pairs.obfuscated[rows].astype(np.int64)))
        return F.l1_loss(guess, truth) + 1 - _similarity(guess, truth)

    schedule = one_cycle(optimiser, [_RATE, _DIRECT_RATE * _RATE], steps)
    Loop(network, optimiser, batches, loss, epochs=1, steps=steps, schedule=schedule).run()
    return network.eval()


def _similarity(guess: Tensor, truth: Tensor) -> Tensor:
    """SSIM with a flat window of 7 x 7 (Wang et al. 2004), to train by; results are measured with torchmetrics'.

    A tenth of the time of the Gaussian one, which would cost more than the network.
    """
    flat = [F.avg_pool2d(part, 7, 1) for part in (guess, truth, guess * guess, truth * truth, guess * truth)]
    one, other = flat[0], flat[1]
    spread = flat[2] - one * one + flat[3] - other * other
    together = flat[4] - one * other
    light = (2 * one * other + 1e-4) / (one * one + other * other + 1e-4)
    return (light * (2 * together + 9e-4) / (spread + 9e-4)).mean()


@torch.no_grad()
def _predicted(network: _UNet, obfuscated: Images) -> Images:
    guess = network(torch.from_numpy(obfuscated.astype(np.int64)))
    return np.asarray((guess.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
