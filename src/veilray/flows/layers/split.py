"""Split: half of the channels leave as latent, the other half go on to the next level."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["join", "leave"]


def leave(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the half of the channels of `(n, c, h, w)` that goes on, and the half that leaves.

    What leaves has the fixed prior N(0, I): nothing is learned from what stays, so that the latent of every
    level is a standard normal (Shibata et al., 2023), unlike the learned split prior of Glow (2018).

    Raises:
        ValueError: when the number of channels is odd.
    """
    if x.shape[1] % 2:
        raise ValueError(f"channels must be even, got {x.shape[1]}")
    on, out = x.chunk(2, dim=1)
    return on, out


def join(on: Tensor, out: Tensor) -> Tensor:
    """Undo `leave`."""
    return torch.cat((on, out), dim=1)
