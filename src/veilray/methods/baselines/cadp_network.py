"""The conditional invertible network of CADP, in plain torch.

Two readings of the published network exist, and both are here. Its configuration file for digits asks for GIN
couplings, dropout of .3 and image noise of .15, with 16 and 32 hidden channels. The program that reads the file spells
the coupling's name differently from the function that takes it, looks for the noise under another name, and uses
neither dropout nor hidden channels: what ran are Glow couplings with 128 hidden channels, noise of .1, no dropout, and
permutations where an earlier version mixed by rotations. `AS_CONFIGURED` is the first reading, `AS_RUN` the second.

Ours: batch size and length of training, no steps in the learning rate, a pixel at its bin's centre, and uniform
dequantisation where likelihoods are compared. Left out: a loss on the decoded image under latent noise of .05, which
the published file describes and switches off.

References:
    Content-Aware Differential Privacy with Conditional Invertible Neural Networks (Toelle et al., 2022, 2207.14625).
    Disentanglement by Nonlinear ICA with General Incompressible-flow Networks, GIN (Sorrenson, Rother, Koethe, 2020).
    Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018).
    Guided Image Generation with Conditional Invertible Neural Networks (Ardizzone et al., 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from veilray.flows.layers import ReshapingSqueeze

__all__ = ["AS_CONFIGURED", "AS_RUN", "CADPConfig", "CADPNetwork"]

INITIAL_DEVIATION = 0.03
"""Of the weights and biases of the sub-networks but for their last layer, which starts at zero (published)."""


@dataclass(frozen=True)
class CADPConfig:
    """The shape of the network and how it is trained; the defaults are the published settings for digits.

    Args:
        coupling: `gin` keeps volume, its log scales add up to 0 over the channels; `glow` does not.
        mixing: what follows each convolutional coupling: a fixed 1x1 `rotation` of the channels, or a `permutation`.
        depths: convolutional couplings at each resolution, finest first; each resolution starts with a down-sampling.
        channels: hidden channels of their sub-networks, one number a resolution.
        flat_depth: couplings over the flattened image, each followed by a fixed permutation.
        flat_width: hidden units of their sub-networks.
        clamp: largest absolute log scale of a coupling.
        dropout: in every sub-network, in training.
        image_noise: deviation of the Gaussian noise on training images in [0, 1]; 0 stands for uniform dequantisation.
        learning_rate: of AdamW.
        weight_decay: of AdamW.

    Raises:
        ValueError: for an unknown kind, a number outside its range, or other `channels` than `depths`.
    """

    coupling: Literal["gin", "glow"] = "gin"
    mixing: Literal["rotation", "permutation"] = "rotation"
    depths: tuple[int, ...] = (4, 4)
    channels: tuple[int, ...] = (16, 32)
    flat_depth: int = 2
    flat_width: int = 392
    clamp: float = 1.5
    dropout: float = 0.3
    image_noise: float = 0.15
    learning_rate: float = 5e-4
    weight_decay: float = 1e-8

    def __post_init__(self) -> None:
        for name, known in (("coupling", ("gin", "glow")), ("mixing", ("rotation", "permutation"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not self.depths or len(self.depths) != len(self.channels):
            raise ValueError(f"channels must be one number for each of the depths {self.depths}, got {self.channels}")
        for name in ("flat_width", "clamp", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if min(*self.depths, *self.channels) < 1:
            raise ValueError(f"depths and channels must be 1 or more, got {self.depths} and {self.channels}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not (self.image_noise >= 0 and self.flat_depth >= 0):
            raise ValueError(
                f"image_noise and flat_depth must be 0 or more, got {self.image_noise} and {self.flat_depth}"
            )


AS_CONFIGURED = CADPConfig()
"""What the published configuration file for digits asks for."""

AS_RUN = CADPConfig("glow", "permutation", channels=(128, 128), dropout=0.0, image_noise=0.1)
"""What the published program makes of that file."""

SubNetwork = Callable[[int, int], nn.Module]
"""Makes a sub-network from its numbers of inputs and outputs."""


class Coupling(nn.Module):
    """Both halves of the channels in turn: the first is moved by the second, the second by what the first became.

    A half x becomes x exp(s) + t. Each sub-network sees the other half and the condition, both along axis 1, of
    `(n, c)` or `(n, c, h, w)`. The log scale s is clamp (2 / pi) atan(raw / clamp).
    """

    def __init__(self, channels: int, levels: int, make: SubNetwork, clamp: float, *, volume: bool) -> None:
        super().__init__()
        self.first, self.clamp, self.keeps_volume = channels // 2, clamp, volume
        first, second = self.first, channels - self.first
        self.for_first = make(second + levels, 2 * first)
        self.for_second = make(first + levels, 2 * second)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log |det dy/dx| `(n,)` in nats."""
        first, second = x[:, : self.first], x[:, self.first :]
        s, t = self._move(self.for_first, second, condition)
        first = first * s.exp() + t
        total = s.flatten(1).sum(dim=1)
        s, t = self._move(self.for_second, first, condition)
        return torch.cat((first, second * s.exp() + t), dim=1), total + s.flatten(1).sum(dim=1)

    def inverse(self, y: Tensor, condition: Tensor) -> Tensor:
        """Return x."""
        first, second = y[:, : self.first], y[:, self.first :]
        s, t = self._move(self.for_second, first, condition)
        second = (second - t) * (-s).exp()
        s, t = self._move(self.for_first, second, condition)
        return torch.cat(((first - t) * (-s).exp(), second), dim=1)

    def _move(self, net: nn.Module, seen: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = net(torch.cat((seen, condition), dim=1)).chunk(2, dim=1)
        log_scale = self.clamp * (2 / math.pi) * torch.atan(raw / self.clamp)
        return (log_scale - log_scale.mean(dim=1, keepdim=True) if self.keeps_volume else log_scale), shift


class Rotation(nn.Module):
    """A fixed random rotation of the channels, the same at every pixel: a 1x1 convolution of determinant +-1."""

    matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed channels of `(n, c, h, w)`."""
        return torch.einsum("ij,njhw->nihw", self.matrix.to(x.dtype), x)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the channels as they were."""
        return torch.einsum("ji,njhw->nihw", self.matrix.to(y.dtype), y)


class Permutation(nn.Module):
    """A fixed random order of axis 1."""

    order: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return x in the fixed order."""
        return x[:, self.order]

    def inverse(self, y: Tensor) -> Tensor:
        """Return y in the order it had."""
        return y[:, self.order.argsort()]


class Block(nn.Module):
    """A coupling, then a fixed mixing of the channels, which keeps volume."""

    def __init__(self, coupling: Coupling, mixing: Rotation | Permutation) -> None:
        super().__init__()
        self.coupling, self.mixing = coupling, mixing

    def forward(self, x: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log |det dy/dx| `(n,)` in nats; `told` is the one-hot label `(n, levels)`."""
        y, ladj = self.coupling(x, _spread(told, x))
        return self.mixing(y), ladj

    def inverse(self, y: Tensor, told: Tensor) -> Tensor:
        """Return x."""
        return self.coupling.inverse(self.mixing.inverse(y), _spread(told, y))


class CADPNetwork(nn.Module):
    """z = f(x; label): images `(n, c, h, w)` in [0, 1] to latents `(n, c h w)` of prior N(0, I), and back.

    At each resolution: down-sampling by reshaping, then blocks with convolutional sub-networks. Then the whole image
    is flattened, for blocks with fully connected sub-networks and a permutation. Nothing leaves on the way, so these
    see every pixel, and their weights grow with pixels times width.

    With GIN couplings the whole map keeps volume: under N(0, I) no image has a density above (2 pi)^(-d/2), so none
    needs fewer than 8 + log2(2 pi) / 2 = 9.33 bits a dimension, more than the 8 of pixels drawn evenly.

    Args:
        shape: `(channels, height, width)`; height and width divisible by 2 for each of the depths.
        levels: of the label, which every sub-network sees as a one-hot vector.
        config: see `CADPConfig`.
        seed: of the weights and the fixed mixing.

    Raises:
        ValueError: where the shape does not fit.
    """

    def __init__(
        self, shape: tuple[int, int, int], levels: int, config: CADPConfig = AS_CONFIGURED, seed: int = 0
    ) -> None:
        super().__init__()
        factor = 2 ** len(config.depths)
        if min(shape) < 1 or shape[1] % factor or shape[2] % factor:
            raise ValueError(f"shape must be channels, and height and width divisible by {factor}, got {shape}")
        if levels < 1:
            raise ValueError(f"levels must be 1 or more, got {levels}")
        self.shape, self.levels, self.config = shape, levels, config
        self.dimension = math.prod(shape)
        self.squeeze = ReshapingSqueeze()
        mixing = Rotation if config.mixing == "rotation" else Permutation

        def blocks(count: int, channels: int, make: SubNetwork, mixed: type[Rotation | Permutation]) -> nn.ModuleList:
            volume = config.coupling == "gin"
            return nn.ModuleList(
                Block(Coupling(channels, levels, make, config.clamp, volume=volume), mixed(channels))
                for _ in range(count)
            )

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stages = nn.ModuleList(
                blocks(depth, shape[0] * 4 ** (stage + 1), _convolutional(width, config.dropout), mixing)
                for stage, (depth, width) in enumerate(zip(config.depths, config.channels, strict=True))
            )
            connected = _fully_connected(config.flat_width, config.dropout)
            self.flat = blocks(config.flat_depth, self.dimension, connected, Permutation)

    @property
    def size(self) -> int:
        """Number of trained numbers."""
        return sum(weight.numel() for weight in self.parameters())

    def call_and_ladj(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents `(n, d)` and log |det dz/dx| `(n,)` in nats; labels are `(n,)` int64."""
        told = self._one_hot(labels, x.dtype)
        total = x.new_zeros(len(x))
        for stage in self.stages:
            x = self.squeeze(x)
            for block in _blocks(stage):
                x, ladj = block(x, told)
                total = total + ladj
        x = x.flatten(1)
        for block in _blocks(self.flat):
            x, ladj = block(x, told)
            total = total + ladj
        return x, total

    def inverse(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the images `(n, c, h, w)` of latents `(n, d)`."""
        told = self._one_hot(labels, z.dtype)
        for block in reversed(_blocks(self.flat)):
            z = block.inverse(z, told)
        factor = 2 ** len(self.stages)
        x = z.reshape(len(z), -1, self.shape[1] // factor, self.shape[2] // factor)
        for index in reversed(range(len(self.stages))):
            for block in reversed(_blocks(self.stages[index])):
                x = block.inverse(x, told)
            x = self.squeeze.inverse(x)
        return x

    def log_prob(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the log-density `(n,)` in nats of images given their labels."""
        z, ladj = self.call_and_ladj(x, labels)
        return ladj - 0.5 * z.square().sum(dim=1) - 0.5 * math.log(2 * math.pi) * self.dimension

    def _one_hot(self, labels: Tensor, dtype: torch.dtype) -> Tensor:
        if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < self.levels):
            raise ValueError(f"labels must be in [0, {self.levels}), got {int(labels.min())} to {int(labels.max())}")
        return nn.functional.one_hot(labels, self.levels).to(dtype)


def _blocks(stage: nn.Module) -> list[Block]:
    return list(cast("nn.ModuleList", stage))  # type: ignore[arg-type]


def _spread(told: Tensor, x: Tensor) -> Tensor:
    """The label as it joins x along axis 1: the same at every pixel."""
    return told if x.ndim == 2 else told[:, :, None, None].expand(-1, -1, *x.shape[2:])


def _convolutional(width: int, dropout: float) -> SubNetwork:
    def layer(inputs: int, outputs: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, outputs, 3, padding=1)

    return lambda inputs, outputs: _three_layers(layer, (inputs, width, width, outputs), dropout)


def _fully_connected(width: int, dropout: float) -> SubNetwork:
    return lambda inputs, outputs: _three_layers(nn.Linear, (inputs, width, width, outputs), dropout)


def _three_layers(layer: Callable[[int, int], Any], sizes: Sequence[int], dropout: float) -> nn.Module:
    """Layer - ReLU - dropout, twice, then a layer that starts at zero: the coupling starts as the identity."""
    first, second, last = (layer(before, after) for before, after in pairwise(sizes))
    with torch.no_grad():
        for hidden in (first, second):
            hidden.weight.normal_(0.0, INITIAL_DEVIATION)
            hidden.bias.normal_(0.0, INITIAL_DEVIATION)
        last.weight.zero_()
        last.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), nn.Dropout(dropout), second, nn.ReLU(), nn.Dropout(dropout), last)
