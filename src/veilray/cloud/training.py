"""How the cloud trains: one fixed schedule, the same for obfuscated and raw pictures, so that their times compare.

AdamW (Loshchilov and Hutter 2019) under a one-cycle rate (Smith and Topin 2019), small shifts, and the epoch with the
lowest log loss on a tenth of the pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from veilray.cloud.networks import NETWORKS
from veilray.networks.blocks import seeded
from veilray.networks.classification import held_out_tenth, logits_of, shuffled_parts
from veilray.networks.loop import Epoch, Loop, one_cycle
from veilray.networks.settings import TrainingSettings

__all__ = ["CLOUD_TRAINING", "TrainingFigures", "fit_network", "probabilities"]

_FEWEST = 20
_SHIFT_SHARE = 16
"""Pictures are shifted by up to a sixteenth of the side."""


CLOUD_TRAINING = TrainingSettings(epochs=20, batch_size=64, learning_rate=2e-3, weight_decay=0.05)
"""What is trained with if nothing else is said."""


@dataclass(frozen=True)
class TrainingFigures:
    """What training showed: log loss (nats) and accuracy on the held-out tenth at the best epoch, and the times."""

    training_images: int
    validation_images: int
    validation_loss: float
    validation_accuracy: float
    best_epoch: int
    epochs: int
    seconds: float
    seconds_per_epoch: float
    parameters: int


def fit_network(
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    classes: int,
    *,
    network: str = "level-sets",
    settings: TrainingSettings = CLOUD_TRAINING,
    on_progress: Callable[..., None] | None = None,
) -> tuple[nn.Sequential, TrainingFigures]:
    """Train a new network; works on raw pictures as on obfuscated ones, in the same time.

    Args:
        images: `(n, c, h, w)` uint8, 20 or more.
        targets: `(n,)` classes from 0.
        classes: how many there are.
        network: a registered name.
        settings: how to train; the seed is of weights, held-out tenth, order and shifts.
        on_progress: called with (done, total, note) after each epoch.

    Returns:
        The network of the best epoch in evaluation mode, and figures.

    Raises:
        ValueError: for too few pictures, classes or pictures of one, an unknown network, or a loss that is not finite.
    """
    _check(images, targets, classes)
    rng = np.random.default_rng(settings.seed)
    held = held_out_tenth(targets, rng)  # the cloud does not know whose pictures they are
    pixels, truth = torch.from_numpy(images), torch.from_numpy(targets)
    train, validation = torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))
    model = seeded(lambda: NETWORKS[network](images.shape[1], images.shape[2], classes), int(rng.integers(2**62)))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = max(len(train) // settings.batch_size, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    shown = 0.0

    def report(epoch: Epoch) -> None:
        nonlocal shown
        shown += epoch.training_seconds
        if on_progress:
            on_progress(epoch.number, settings.epochs, f"validation loss {epoch.figure:.3f}")

    loop = Loop(
        model,
        optimiser,
        lambda _: shuffled_parts(train, batches, rng),
        lambda chosen: cross_entropy(model(_shifted(_scaled(pixels[chosen]), rng)), truth[chosen]),
        epochs=settings.epochs,
        steps=batches,
        schedule=one_cycle(optimiser, settings.learning_rate, settings.epochs * batches),
        validate=lambda: float(cross_entropy(logits_of(model, pixels[validation], _scaled), truth[validation])),
        max_minutes=settings.max_minutes,
        on_epoch=report,
    )
    started = time.perf_counter()
    loop.run()
    loop.restore_best()
    model.eval()
    right = logits_of(model, pixels[validation], _scaled).argmax(dim=1) == truth[validation]
    return model, TrainingFigures(
        training_images=len(train),
        validation_images=len(validation),
        validation_loss=round(float(loop.state.best or 0.0), 4),
        validation_accuracy=round(float(right.double().mean()), 4),
        best_epoch=loop.state.best_epoch,
        epochs=loop.state.epoch,
        seconds=round(time.perf_counter() - started, 2),
        seconds_per_epoch=round(shown / max(loop.state.epoch, 1), 4),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def probabilities(
    model: nn.Module, images: NDArray[np.uint8], on_progress: Callable[..., None] | None = None
) -> NDArray[np.float64]:
    """The probability of each class `(n, classes)`, each picture by itself."""
    logits = logits_of(model, torch.from_numpy(images), _scaled, on_progress)
    result: NDArray[np.float64] = softmax(logits.double(), dim=1).numpy()
    return result


def _check(images: NDArray[np.uint8], targets: NDArray[np.int64], classes: int) -> None:
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(f"images must be (n, c, h, w) uint8, got {images.shape} {images.dtype}")
    if targets.shape != (len(images),) or len(images) < _FEWEST:
        raise ValueError(f"images must be {_FEWEST} or more with a label each, got {len(images)}")
    counts = np.bincount(targets, minlength=classes)
    if classes < 2 or counts.min() < 2:
        raise ValueError(f"labels must be of two classes or more with 2 images or more each, got {counts.tolist()}")


def _scaled(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255).contiguous(memory_format=torch.channels_last)


def _shifted(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The whole batch moved by up to a sixteenth of the side along both axes; the edge is repeated. No flips."""
    height, width = images.shape[2:]
    down, right = (int(rng.integers(-(side // _SHIFT_SHARE), side // _SHIFT_SHARE + 1)) for side in (height, width))
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    return images[:, :, rows][:, :, :, columns]
