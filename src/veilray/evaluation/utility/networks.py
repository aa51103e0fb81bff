"""Small networks: a plain convolutional one and a residual one on images, a multilayer perceptron on codes.

Sized for noisy releases of a few thousand images and for one core, not for a record on clean data.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from veilray.evaluation.utility.base import LEARNERS, Floats, Learner, Space
from veilray.evaluation.utility.pooling import pooled
from veilray.evaluation.utility.training import Augment, Schedule, probabilities, train_network
from veilray.networks.blocks import Residual, convolution, head

__all__ = ["CNN", "CodeMLP", "NetworkLearner", "ResNet", "shifted"]

SIDE = 32
"""Larger images are average-pooled to at most 32 x 32 first."""
STRIDED_FROM = 17
"""Images with sides from here on are halved by the first convolution: half the sides, a quarter of the time."""
SHIFT_SHARE = 16
"""Augmentation shifts by up to a sixteenth of the side, at least a pixel: 2 pixels of 28 and 32."""


class NetworkLearner(Learner):
    """A learner that is a network; a concrete one gives `_network` and `_tensor`.

    Args:
        device: where torch trains and predicts. Results repeat bit for bit on the CPU with as many threads.
    """

    schedule: ClassVar[Schedule]

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def _fit(self, inputs: NDArray[Any], labels: NDArray[np.int64], seed: int) -> None:
        self._mean, self._scale = self._standard(inputs)
        rows = self._tensor(inputs)
        shape = tuple(rows.shape[1:])
        self._model = train_network(
            lambda: self._network(shape, self.classes), rows, labels, self.schedule, seed, self._augment(shape)
        )

    def _probabilities(self, inputs: NDArray[Any]) -> Floats:
        return probabilities(self._model, self._tensor(inputs))

    def _tensor(self, inputs: NDArray[Any]) -> Tensor:
        rows = ((self._values(inputs) - self._mean) / self._scale).astype(np.float32)
        tensor = torch.from_numpy(rows).to(self.device)
        return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    def _standard(self, inputs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and deviation of the training rows, with an axis for each of theirs; a constant has deviation 1."""
        values = self._values(inputs)
        axes = (0, *range(2, values.ndim))
        mean, scale = values.mean(axis=axes, keepdims=True), values.std(axis=axes, keepdims=True)
        return mean, np.where(scale > 0, scale, 1).astype(values.dtype)

    def _augment(self, shape: tuple[int, ...]) -> Augment | None:
        del shape
        return None

    @abstractmethod
    def _values(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return what is standardised: axis 1 holds what has a mean of its own."""

    @abstractmethod
    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Return a new network for rows of `shape`; its output is `(n, classes)` logits."""


class _ImageNetwork(NetworkLearner):
    space: ClassVar[Space] = "image"

    def _values(self, inputs: NDArray[Any]) -> NDArray[Any]:
        return pooled(inputs, SIDE)

    def _augment(self, shape: tuple[int, ...]) -> Augment | None:
        reach = max(1, max(shape[1:]) // SHIFT_SHARE)
        return lambda images, rng: shifted(images, reach, rng)


class CNN(_ImageNetwork):
    """Four 3 x 3 convolutions of 32, 32, 64, 64 channels; 66,000 parameters for one channel and ten classes."""

    name: ClassVar[str] = "cnn"
    schedule: ClassVar[Schedule] = Schedule()

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            *convolution(shape[0], 32, _stride(shape)),
            *convolution(32, 32, 1),
            nn.MaxPool2d(2, ceil_mode=True),
            *convolution(32, 64, 1),
            *convolution(64, 64, 1),
            *head(64, classes),
        )


class ResNet(_ImageNetwork):
    """Four pre-activation blocks of 24, 48, 48, 96 channels; 215,000 parameters for one channel and ten classes.

    References:
        He, Zhang, Ren, Sun, 2016, Identity mappings in deep residual networks.
    """

    name: ClassVar[str] = "resnet"
    schedule: ClassVar[Schedule] = Schedule(passes=100_000, most_epochs=28, learning_rate=1e-3, mixup=True)

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(shape[0], 24, 3, _stride(shape), padding=1, bias=False),
            Residual(24, 24, 1),
            Residual(24, 48, 2, from_active=True),
            Residual(48, 48, 1, from_active=True),
            Residual(48, 96, 2, from_active=True),
            nn.BatchNorm2d(96),
            nn.ReLU(),
            *head(96, classes),
        )


class CodeMLP(NetworkLearner):
    """Two hidden layers of 64 on the standardised elements of the code."""

    name: ClassVar[str] = "code-mlp"
    space: ClassVar[Space] = "code"
    schedule: ClassVar[Schedule] = Schedule(passes=300_000, most_epochs=64, mixup=True)

    def _values(self, inputs: NDArray[Any]) -> NDArray[Any]:
        return inputs

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(shape[0], 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, classes))


def shifted(images: Tensor, reach: int, rng: np.random.Generator) -> Tensor:
    """Shift each of `(n, c, h, w)` by up to `reach` pixels along both axes; the edge is repeated, nothing wraps.

    No flips: a chest has a left and a right side, a shoe a front.
    """
    n, _, height, width = images.shape
    offsets = torch.from_numpy(rng.integers(-reach, reach + 1, (2, n, 1))).to(images.device)
    rows = (torch.arange(height, device=images.device) + offsets[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + offsets[1]).clamp(0, width - 1)
    index = torch.arange(n, device=images.device)[:, None, None]
    # Channels last while indexing: one gather of whole pixels, and the result keeps that layout.
    moved = images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _stride(shape: tuple[int, ...]) -> int:
    return 2 if max(shape[1:]) >= STRIDED_FROM else 1


for _learner in (CNN, ResNet, CodeMLP):
    LEARNERS.register(_learner.name)(_learner)
