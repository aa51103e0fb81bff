"""The shape of a Glow: what must be known before there is a weight."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Literal

from veilray.flows.layers import COUPLINGS, DOWNSAMPLINGS

__all__ = ["GlowConfig"]


_ALLOWED = {"channels": (1, 64), "levels": (1, 12), "steps": (1, 256), "width": (1, 4096), "size": (2, 4096)}
"""Lowest and highest, far above what was ever trained: beyond it a network cannot be built, let alone trained."""


@dataclass(frozen=True)
class GlowConfig:
    """The shape of a Glow.

    Args:
        size: height and width of the images, in pixels; divisible by 2**levels.
        channels: colour channels, 1 to 64.
        bits: bits a pixel, 1 to 16: uint8 images up to 8, uint16 above.
        levels: number of resolutions, L.
        steps: steps of flow a level, K, up to 256 (Glow's largest has 48).
        width: hidden channels of the coupling nets, up to 4,096 (Glow's has 512).
        coupling: "affine", or "gin": affine with log scales that sum to zero at each position, so that couplings
            keep volume (Sorrenson, Rother and Koethe, 2020), and ActNorms and convolutions alone change it.
        downsampling: the order of the channels that a 2 x 2 block of pixels becomes. "checkerboard", the order of
            i-RevNet (Jacobsen et al., 2018): the four sub-images of the checkerboard one after the other.
            "reshape": the four pixels of a channel side by side, the order that CADP's public code (Toelle et al.,
            2022) gets from FrEIA 0.2. The two differ where there is more than one channel; the random rotation
            that follows mixes all of them in either order, so expect little of the choice.

    Raises:
        ValueError: when a value is outside its range.
    """

    size: int
    channels: int = 1
    bits: int = 8
    levels: int = 3
    steps: int = 8
    width: int = 128
    coupling: Literal["affine", "gin"] = "affine"
    downsampling: Literal["checkerboard", "reshape"] = "checkerboard"

    def __post_init__(self) -> None:
        for name, (lowest, most) in _ALLOWED.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= most:
                raise ValueError(f"{name} must be a whole number from {lowest} to {most:,}, got {value!r}")
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 16:
            raise ValueError(f"bits must be a whole number from 1 to 16, got {self.bits!r}")
        for name, known in (("coupling", tuple(COUPLINGS)), ("downsampling", tuple(DOWNSAMPLINGS))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")
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

    def to_dict(self) -> dict[str, int | str]:
        """Return the six numbers, for JSON, and the coupling and the down-sampling where they are not the default.

        A flow without options is described as it was before there were any: equal weights make equal files.
        """
        usual = {field.name: field.default for field in fields(self) if field.name in ("coupling", "downsampling")}
        return {name: value for name, value in asdict(self).items() if name not in usual or value != usual[name]}
