"""Rehearsed releases: what a mechanism makes of public codes, for training the decoder and telling it how much is left.

Experiments only: the noise here comes from torch's generator or a seeded entropy, and never reaches a release.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from veilray.codes import Reference
from veilray.privacy import Claim, Mechanism, SeededEntropy
from veilray.privacy.mechanisms.directional import Directional

__all__ = ["EPSILONS", "Rehearsal", "alignment"]

EPSILONS = ("0.25", "0.5", "1", "2", "4", "8")
_ROWS = 4096


def alignment(mechanism: Mechanism, reference: Reference) -> float:
    """Mean cosine between public code rows and what the mechanism makes of them: how much a release still says.

    It depends on the mechanism's public parameters and the public law of the codes alone. One number that means
    the same for every mechanism, so the decoder can be told it in place of epsilon.
    """
    rows = reference.sample(_ROWS, SeededEntropy("alignment rows"))
    drawn = mechanism.to_prior(mechanism.release(rows, SeededEntropy("alignment noise")))
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(drawn, axis=1)
    return float(np.mean((rows * drawn).sum(axis=1) / np.maximum(lengths, 1e-12)))


class Rehearsal:
    """Directional releases of public code rows, each at an epsilon drawn for it from `EPSILONS`.

    Args:
        reference: the law of the public images' codes, of k numbers.
    """

    def __init__(self, reference: Reference) -> None:
        keep = reference.dimension
        mechanisms = [Directional.calibrate(Claim.of(epsilon), keep) for epsilon in EPSILONS]
        self._table = torch.tensor(
            [[*_law(mechanism), alignment(mechanism, reference)] for mechanism in mechanisms], dtype=torch.float64
        )

    def __call__(self, codes: Tensor, generator: torch.Generator) -> Tensor:
        """Release `(n, k)` codes; return them with the alignment in a last column, `(n, k + 1)` float32.

        The law of the fixed-length mechanism is drawn directly: the projection on the code's direction from either
        side of the threshold, everything else from N(0, I).
        """
        chosen = torch.randint(len(self._table), (len(codes),), generator=generator)
        upper, tail, scale, told = self._table[chosen].T
        directions = codes.double() / codes.double().norm(dim=1, keepdim=True).clamp_min(1e-12)
        side = torch.rand(len(codes), generator=generator, dtype=torch.float64) < upper
        level = torch.rand(len(codes), generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        along = torch.where(side, -torch.special.ndtri(level * tail), torch.special.ndtri(level * (1 - tail)))
        noise = torch.randn(codes.shape, generator=generator, dtype=torch.float64)
        across = noise - (noise * directions).sum(1, keepdim=True) * directions
        released = (across + along[:, None] * directions) * scale[:, None]
        return torch.cat([released, told[:, None]], dim=1).float()


def _law(mechanism: Directional) -> tuple[float, float, float]:
    """Probability of the upper side, its share of the candidates' law, and the scale of `to_prior`."""
    (block,) = mechanism.blocks
    return block.effective, block.q, float(mechanism.to_prior(np.ones((1, mechanism.dimension)))[0, 0])
