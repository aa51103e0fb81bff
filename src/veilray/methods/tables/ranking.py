"""Which directions of a table's latent matter: those that move what is asked of a row, measured on public rows.

As `methods/latent_directions.py` does for pictures: of J = d h(f^-1(z; c)) / dz, where h are the answers of a small
network that was trained to tell the declared task on public rows, the eigenvectors of E[J^T J] are the directions in
the order of how much they move those answers, the eigenvalues say how much. A table's latent is short, so here every
Jacobian is computed whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import jacrev

from veilray.flows import Condition, TabularFlow
from veilray.methods.latent_directions import LatentDirections
from veilray.networks.task_reader import train_task_reader

__all__ = ["ranked_directions", "row_reader"]

_ROWS = 512
"""Public rows over which the Jacobian's square is averaged."""
_FLOOR = 1e-3
"""Share of the largest importance that every direction has at least: the reader is no oracle."""
_STEPS, _BATCH, _WIDTH = 1500, 256, 64


def ranked_directions(
    flow: TabularFlow,
    rows: NDArray[np.float64],
    condition: Condition | None,
    keep: int,
    answers: Callable[[Tensor], Tensor] | None,
    *,
    spread: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> LatentDirections:
    """The `keep` directions of the latent that matter most, over public coordinates `(n, d)` under their conditions.

    Args:
        answers: a differentiable map of coordinates `(n, d)` to what counts; the coordinates themselves without it.
        spread: `(n, d)`, the same rows dequantised, whose latents spread as under the prior: each direction gets its
            mean and deviation from them. Without it from `rows`, which are narrower where cells are wide.

    Raises:
        ValueError: for fewer than 2 rows, or a `keep` that is not between 1 and d.
    """
    if len(rows) < 2:
        raise ValueError(f"rows must be 2 or more, got {len(rows)}")
    if not 1 <= keep <= flow.config.dimension:
        raise ValueError(f"keep must be between 1 and {flow.config.dimension}, got {keep}")
    latents = flow.encode(rows, condition)
    some = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_ROWS])
    gram = _gram(flow, latents[some], None if condition is None else condition[some], answers)
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:keep]
    importance = np.maximum(values[order], _FLOOR * values[order[0]])
    directions = np.ascontiguousarray(vectors[:, order])
    numbers = (latents if spread is None else flow.encode(spread, condition)) @ directions
    deviation = np.maximum(numbers.std(axis=0), 1e-6)
    tensors = (directions, importance, numbers.mean(axis=0), deviation)
    return LatentDirections(*(torch.from_numpy(np.ascontiguousarray(array)) for array in tensors))


def row_reader(rows: NDArray[np.float64], targets: NDArray[Any], *, seed: int = 0, steps: int = _STEPS) -> nn.Module:
    """Train a small network to tell the task from **public** coordinates.

    Args:
        rows: `(n, d)`.
        targets: `(n,)` int64 levels for a category, float for a number of order 1.

    Returns:
        A module in evaluation mode: coordinates `(n, d)` to one number a level, or one number.

    Raises:
        ValueError: for fewer than two rows, or a single level.
    """
    shown = torch.from_numpy(rows.astype(np.float32))
    return train_task_reader(
        lambda outputs: nn.Sequential(nn.Linear(rows.shape[1], _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, outputs)),
        lambda chosen: shown[chosen],
        targets,
        "rows",
        batch_size=_BATCH,
        learning_rate=3e-3,
        weight_decay=0.1,  # few rows are told by heart in a moment: it keeps the answers a broad function of the row
        steps=min(steps, 20 + len(rows) // 4),
        seed=seed,
    )


@torch.no_grad()
def _gram(
    flow: TabularFlow,
    latents: NDArray[np.float64],
    condition: Condition | None,
    answers: Callable[[Tensor], Tensor] | None,
) -> NDArray[np.float64]:
    """The mean over latents of J^T J, `(d, d)` float64."""
    told = None if condition is None or flow.conditions is None else condition
    total = np.zeros((flow.config.dimension, flow.config.dimension))
    for start in range(0, len(latents), 64):
        part = torch.from_numpy(latents[start : start + 64]).to(flow.device, flow.dtype)
        given = None if told is None else told[slice(start, start + 64)]

        def shown(z: Tensor, given: Condition | None = given) -> Tensor:
            rows = flow.inverse(z, given)
            return rows if answers is None else answers(rows)

        # No row depends on another, so the sum over rows has each row's Jacobian in its own place.
        jacobian = jacrev(lambda z: shown(z).sum(dim=0))(part).double()  # (answers, n, d)
        total += torch.einsum("and,ane->de", jacobian, jacobian).cpu().numpy()
    return total / len(latents)
