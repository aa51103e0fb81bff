"""Small classifiers for obfuscated pictures of 28 to 256 pixels; none of them averages grey levels at the entry.

A random map makes neighbouring grey levels strangers, so that pooling raw pixels would mix what means nothing.
Downsampling is by strides of learned layers, until the sides are at most 16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from veilray.cloud.level_sets import LEVELS, TOLD, level_sets
from veilray.networks.blocks import Residual, convolution, head
from veilray.registry import Registry

__all__ = [
    "NETWORKS",
    "LevelSets",
    "LevelTable",
    "level_sets_network",
    "levels_network",
    "plain_network",
    "residual_network",
]

_LARGEST_SIDE = 16
_WIDTH = 24
_TABLE_WIDTH = 4


class LevelTable(nn.Module):
    """Each grey level has a learned vector of its own, so that a map that is always the same costs nothing.

    Args:
        width: numbers a level; the first starts as the level itself, the others at random.
    """

    def __init__(self, width: int = _TABLE_WIDTH) -> None:
        super().__init__()
        self.table = nn.Embedding(LEVELS, width)
        with torch.no_grad():
            self.table.weight[:, 0] = torch.linspace(-1, 1, LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)` in [0, 1], from uint8, to `(n, c * width, h, w)`."""
        vectors: Tensor = self.table(_levels(x))
        return vectors.permute(0, 1, 4, 2, 3).flatten(1, 2)


class LevelSets(nn.Module):
    """Each pixel with its level beside what `level_sets` tells of it; nothing is learned here."""

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)` in [0, 1], from uint8, to `(n, 8 * c, h, w)`."""
        return torch.cat([x, level_sets(_levels(x))], dim=1)


NETWORKS: Registry[Callable[[int, int, int], nn.Sequential]] = Registry("network")
"""Name to what builds a network from channels, size and classes; its output is `(n, classes)` logits."""


@NETWORKS.register("cnn")
def plain_network(channels: int, size: int, classes: int) -> nn.Sequential:
    """Plain 3 x 3 convolutions: strided ones down to 16 pixels, then two pairs of 48 and 96 channels."""
    return nn.Sequential(
        *_stem(channels, size),
        *convolution(_WIDTH, 2 * _WIDTH, 1),
        *convolution(2 * _WIDTH, 2 * _WIDTH, 1),
        *convolution(2 * _WIDTH, 4 * _WIDTH, 2),
        *convolution(4 * _WIDTH, 4 * _WIDTH, 1),
        *head(4 * _WIDTH, classes),
    )


@NETWORKS.register("resnet")
def residual_network(channels: int, size: int, classes: int) -> nn.Sequential:
    """As the plain one, with four residual blocks of 24, 48, 48 and 96 channels in place of the pairs."""
    return nn.Sequential(
        *_stem(channels, size),
        Residual(_WIDTH, _WIDTH, 1),
        Residual(_WIDTH, 2 * _WIDTH, 2),
        Residual(2 * _WIDTH, 2 * _WIDTH, 1),
        Residual(2 * _WIDTH, 4 * _WIDTH, 2),
        nn.BatchNorm2d(4 * _WIDTH),
        nn.ReLU(),
        *head(4 * _WIDTH, classes),
    )


@NETWORKS.register("levels")
def levels_network(channels: int, size: int, classes: int) -> nn.Sequential:
    """The plain network behind a learned table of grey levels: the one to try where all pictures share a map."""
    return nn.Sequential(LevelTable(), *plain_network(channels * _TABLE_WIDTH, size, classes))


@NETWORKS.register("level-sets")
def level_sets_network(channels: int, size: int, classes: int) -> nn.Sequential:
    """The plain network on pixels told by their level sets: it learns under a map for each picture as under one."""
    return nn.Sequential(LevelSets(), *plain_network(channels * (1 + TOLD), size, classes))


def _levels(x: Tensor) -> Tensor:
    """The grey levels, int64, of pictures in [0, 1]."""
    return (x * (LEVELS - 1)).round().long()


def _stem(channels: int, size: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    while True:
        stride = 2 if size > _LARGEST_SIDE else 1
        layers += convolution(channels, _WIDTH, stride)
        channels, size = _WIDTH, -(-size // stride)
        if size <= _LARGEST_SIDE:
            return layers
