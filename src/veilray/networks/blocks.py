"""Parts of small convolutional networks, and how a new network gets its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Residual", "convolution", "head", "seeded"]

Built = TypeVar("Built")


def convolution(channels: int, out: int, stride: int = 1, kernel: int = 3) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A padded convolution without bias, batch normalisation and ReLU; sides become `side / stride`, rounded up."""
    layer = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return layer, nn.BatchNorm2d(out), nn.ReLU()


def head(channels: int, classes: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The mean of each channel, and a linear map to `(n, classes)` logits."""
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)


class Residual(nn.Module):
    """Norm, ReLU, convolution, twice, added to the input (He, Zhang, Ren, Sun 2016, Identity mappings).

    Where the shape changes, a 1 x 1 convolution stands for the input.

    Args:
        channels, out, stride: of the first convolution.
        from_active: whether that 1 x 1 convolution sees the input after the first norm and ReLU, as published, or
            before them.
    """

    def __init__(self, channels: int, out: int, stride: int, *, from_active: bool = False) -> None:
        super().__init__()
        self.changed = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
        )
        same = channels == out and stride == 1
        self.kept = nn.Identity() if same else nn.Conv2d(channels, out, 1, stride, bias=False)
        self.from_active = from_active and not same

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, out, h / stride, w / stride)`, sides rounded up."""
        active = self.changed[1](self.changed[0](x))
        total: Tensor = self.kept(active if self.from_active else x) + self.changed[2:](active)
        return total


def seeded(build: Callable[[], Built], seed: int) -> Built:
    """What `build` makes, with weights that come from `seed` alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
