"""How the learners that are networks are trained: one schedule, averaged weights, stopped on released data.

AdamW (Loshchilov and Hutter, 2019, Decoupled weight decay regularization) under a one-cycle rate (Smith and Topin,
2019, Super-convergence), an exponential moving average of the weights (Polyak and Juditsky, 1992), and the epoch
whose averaged weights have the lowest log loss on a tenth of the training data. Labels that are only weakly tied to
their images are learned by heart sooner or later; the last two are what keeps that out of the result. A network large
enough to do so within a few epochs is also shown blends of images (Zhang et al., 2018, mixup).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from veilray.evaluation.utility.base import Floats, validation_rows
from veilray.networks.blocks import seeded
from veilray.networks.classification import logits_of, shuffled_parts
from veilray.networks.loop import Loop, one_cycle

__all__ = ["Augment", "Schedule", "probabilities", "train_network"]

Augment = Callable[[Tensor, np.random.Generator], Tensor]

AVERAGE_DECAY = 0.99
"""Of the moving average: it remembers about a hundred steps, a tenth of a run; fewer while it is young."""


@dataclass(frozen=True)
class Schedule:
    """Fixed beforehand; the number of images alone sets the number of epochs.

    Args:
        passes: images shown in a whole run, about.
        most_epochs: epochs at most, however few the images.
        fewest_epochs: epochs at least, however many.
        batch_size: images a step; fewer where there would be less than 16 steps an epoch.
        learning_rate: the highest one of the cycle.
        weight_decay: of AdamW, on the weights and not on biases and norms.
        mixup: show blends of two images with the blend of their losses, in evenly drawn parts.
    """

    passes: int = 120_000
    most_epochs: int = 32
    fewest_epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    mixup: bool = False

    def epochs(self, images: int) -> int:
        """Return the epochs of a run, unless it is stopped early."""
        return min(max(self.passes // images, self.fewest_epochs), self.most_epochs)

    def batches(self, images: int) -> int:
        """Return the steps of an epoch; batches are of equal size but for one image."""
        size = min(self.batch_size, max(images // 16, 16))
        return max(images // size, 1)

    def patience(self, images: int) -> int:
        """Return the epochs without a better validation loss after which a run stops: a third of all."""
        return max(self.epochs(images) // 3, 3)


def train_network(
    build: Callable[[], nn.Module],
    inputs: Tensor,
    labels: NDArray[np.int64],
    schedule: Schedule,
    seed: int,
    augment: Augment | None = None,
) -> nn.Module:
    """Train a new network and return the averaged weights of its best epoch, in evaluation mode.

    Args:
        build: makes the network, from the global torch generator, whose state is put back afterwards.
        inputs: float32 rows, on the device to train on.
        labels: `(n,)` classes.
        schedule: how long and how fast.
        seed: of the weights, the validation tenth, the order and the augmentation.
        augment: changes a batch before it is shown; validation rows are never changed.

    Raises:
        ValueError: when the loss is not finite.
    """
    roots = np.random.SeedSequence(seed).generate_state(3)
    held = validation_rows(labels, int(roots[0]))
    targets = torch.from_numpy(labels).to(inputs.device)
    train, validation = (torch.from_numpy(np.flatnonzero(rows)).to(inputs.device) for rows in (~held, held))
    network = seeded(build, int(roots[1])).to(inputs.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rng = np.random.default_rng(roots[2])
    epochs, batches = schedule.epochs(len(train)), schedule.batches(len(train))
    optimiser = torch.optim.AdamW(_groups(network, schedule.weight_decay), lr=schedule.learning_rate, fused=True)
    batch_loss = _blended_loss if schedule.mixup else _loss

    def loss(chosen: Tensor) -> Tensor:
        batch = inputs[chosen] if augment is None else augment(inputs[chosen], rng)
        return batch_loss(network, batch, targets[chosen], rng)

    loop = Loop(
        network,
        optimiser,
        lambda _: shuffled_parts(train, batches, rng),
        loss,
        epochs=epochs,
        steps=batches,
        schedule=one_cycle(optimiser, schedule.learning_rate, epochs * batches),
        ema_decay=AVERAGE_DECAY,
        validate=lambda: float(cross_entropy(logits_of(network, inputs[validation]), targets[validation])),
        patience=schedule.patience(len(train)),
    )
    loop.run()
    loop.restore_best()
    return network.eval()


def probabilities(network: nn.Module, inputs: Tensor) -> Floats:
    """Return the probability of each class `(n, classes)`, in batches."""
    logits = logits_of(network, inputs).double().cpu()
    result: Floats = logits.softmax(dim=1).numpy()
    return result


def _loss(network: nn.Module, batch: Tensor, targets: Tensor, rng: np.random.Generator) -> Tensor:
    del rng
    return cross_entropy(network(batch), targets)


def _blended_loss(network: nn.Module, batch: Tensor, targets: Tensor, rng: np.random.Generator) -> Tensor:
    part = rng.random()
    other = torch.from_numpy(rng.permutation(len(batch))).to(batch.device)
    logits = network(batch.lerp(batch[other], 1 - part))
    return part * cross_entropy(logits, targets) + (1 - part) * cross_entropy(logits, targets[other])


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights have two axes or more and decay; biases and the scales of norms have one and do not."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
