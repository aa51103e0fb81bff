"""What every training of a classifier needs: a held-out tenth, shuffled batches, and logits in parts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["held_out_tenth", "logits_of", "shuffled_parts"]

_AT_ONCE = 512


def held_out_tenth(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a tenth of the rows, each class in proportion: True where a row validates and does not train."""
    order = rng.permutation(len(labels))
    chosen = np.zeros(len(labels), np.bool_)
    # Never two neighbours: of a class of two rows or more, one trains.
    chosen[order[np.argsort(labels[order], kind="stable")][5::10]] = True
    return chosen


def shuffled_parts(rows: Tensor, parts: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """The rows in random order, in so many batches of equal size but for one row."""
    return torch.tensor_split(rows[torch.from_numpy(rng.permutation(len(rows))).to(rows.device)], parts)


@torch.no_grad()
def logits_of(
    network: nn.Module,
    inputs: Tensor,
    prepared: Callable[[Tensor], Tensor] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The logits `(n, classes)` of inputs in evaluation mode, each row by itself.

    Args:
        prepared: makes of some inputs what the network takes.
        on_progress: called with rows done, and all rows.
    """
    network.eval()
    found = list[Tensor]()
    for part in torch.split(inputs, _AT_ONCE):
        found.append(network(part if prepared is None else prepared(part)))
        if on_progress:
            on_progress(min(len(found) * _AT_ONCE, len(inputs)), len(inputs))
    return torch.cat(found)
