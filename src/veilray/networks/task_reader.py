"""A small network that learns to tell a task from public examples, whatever these are: pictures, or rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from veilray.networks.blocks import seeded
from veilray.networks.loop import Loop

__all__ = ["train_task_reader"]


def train_task_reader(
    build: Callable[[int], nn.Module],
    inputs_of: Callable[[NDArray[np.int64]], Tensor],
    targets: NDArray[Any],
    what: str,
    *,
    batch_size: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    steps: int,
    seed: int = 0,
) -> nn.Module:
    """Train by AdamW, on batches drawn with replacement.

    Args:
        build: a new network of so many outputs.
        inputs_of: the examples at these places, as the network takes them.
        targets: `(n,)` int64 levels for a category, float for a number of order 1.
        what: the examples in messages.
        seed: of the weights and the draws.

    Returns:
        The network in evaluation mode, without gradients: examples to one logit a level, or to one number.

    Raises:
        ValueError: for fewer than two examples, or a single level.
    """
    category, count = np.issubdtype(targets.dtype, np.integer), len(targets)
    if count < 2 or (category and len(np.unique(targets)) < 2):
        raise ValueError(f"task must be told by two {what} or more of two levels or more, got {count} {what}")
    network = seeded(lambda: build(int(targets.max()) + 1 if category else 1), seed)
    truth = torch.from_numpy(targets if category else targets.astype(np.float32))
    generator = torch.Generator().manual_seed(seed)

    def batches(epoch: int) -> Iterator[Tensor]:
        del epoch
        for _ in range(steps):
            yield torch.randint(count, (min(batch_size, count),), generator=generator)

    def loss(chosen: Tensor) -> Tensor:
        answers, wanted = network(inputs_of(chosen.numpy())), truth[chosen]
        return F.cross_entropy(answers, wanted) if category else F.mse_loss(answers[:, 0], wanted)

    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    Loop(network, optimiser, batches, loss, epochs=1, steps=steps).run()
    return network.eval().requires_grad_(False)
