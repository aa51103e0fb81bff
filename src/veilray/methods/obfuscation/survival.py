"""What of a picture an intensity map leaves standing: edges, the histogram's shape, level sets.

None of these needs the key. They say how much an onlooker still sees, not how hard an attack is: see the attacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.methods.obfuscation.intensity_map import SOURCES, IntensityMap, MapFamily, apply_each
from veilray.methods.obfuscation.keys import Key

__all__ = ["Survival", "family_figures", "histogram_distance", "survival"]

_MAPS = 128
"""Maps and pictures that the figures of a family are a mean over."""


@dataclass(frozen=True)
class Survival:
    """Means over pictures, each from 0 to 1.

    Attributes:
        edges: share of unequal neighbouring pixels that stay unequal; 1 where there were none.
        level_sets: share of equal neighbouring pixels that stay equal; 1 for any map of single pixels.
        histogram: total variation between the histograms before and after, when the levels of one are matched with
            those of the other in order, upwards or downwards, as well as can be: 0 is a histogram that survived.
    """

    edges: float
    level_sets: float
    histogram: float


def survival(originals: NDArray[Any], mapped: NDArray[Any]) -> Survival:
    """Compare pictures `(n, c, h, w)` uint8 with what became of them.

    Raises:
        ValueError: for other shapes or types, or no picture.
    """
    if originals.shape != mapped.shape or originals.ndim != 4 or not len(originals):
        raise ValueError(f"pictures must be (n, c, h, w), as many mapped, got {originals.shape} and {mapped.shape}")
    if originals.dtype != np.uint8 or mapped.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8, got {originals.dtype} and {mapped.dtype}")
    before, after = _unequal_neighbours(originals), _unequal_neighbours(mapped)
    distances = [
        histogram_distance(_histogram(old), _histogram(new)) for old, new in zip(originals, mapped, strict=True)
    ]
    return Survival(
        edges=_share(before & after, before),
        level_sets=_share(~before & ~after, ~before),
        histogram=float(np.mean(distances)),
    )


def histogram_distance(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Total variation of two histograms after the best matching of their levels that keeps the order, or turns it.

    A matching pairs each level of one with at most one of the other; what it cannot pair counts as different.

    Raises:
        ValueError: for a histogram without any count.
    """
    if not (first.sum() > 0 and second.sum() > 0):
        raise ValueError("a histogram must have a positive sum, got none")
    p, q = first / first.sum(), second / second.sum()
    return float(max(0.0, 1 - max(_overlap(p, q), _overlap(p, q[::-1]))))


def family_figures(family: MapFamily, images: NDArray[Any]) -> dict[str, float]:
    """Figures of maps of `family`, drawn under keys that are used once, on pictures `(n, c, h, w)` uint8.

    Returns:
        `residual_bits` on the pictures' own histogram and `residual_bits_uniform`, H(X|Y) in bits a pixel;
        `unique_preimage`, the share of source levels that are alone in their target; `edges_kept`,
        `level_sets_kept`, `histogram_distance`: see `Survival`.
    """
    chosen = np.asarray(images[:_MAPS])
    key = Key.fresh()
    tables = family.tables([key.stream("figures", b"%d" % row) for row in range(len(chosen))])
    maps = [IntensityMap(table) for table in tables]
    histogram = _histogram(chosen)
    kept = survival(chosen, apply_each(chosen, tables))
    return {
        "residual_bits": _mean([each.residual_entropy(histogram) for each in maps]),
        "residual_bits_uniform": _mean([each.residual_entropy() for each in maps]),
        "unique_preimage": _mean([each.preimage_sizes()[1] / SOURCES for each in maps]),
        "edges_kept": round(kept.edges, 4),
        "level_sets_kept": round(kept.level_sets, 4),
        "histogram_distance": round(kept.histogram, 4),
    }


def _unequal_neighbours(images: NDArray[Any]) -> NDArray[np.bool_]:
    across = images[..., :, 1:] != images[..., :, :-1]
    along = images[..., 1:, :] != images[..., :-1, :]
    return np.concatenate([across.reshape(-1), along.reshape(-1)])


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else 1.0


def _histogram(pixels: NDArray[Any]) -> NDArray[np.int64]:
    return np.bincount(pixels.reshape(-1), minlength=SOURCES)


def _overlap(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """The largest sum of min(p_i, q_j) over pairs that keep the order: alignment (Needleman and Wunsch 1970)."""
    p, q = p[p > 0], q[q > 0]
    best = np.zeros(len(q) + 1)
    for share in p:
        paired = best[:-1] + np.minimum(share, q)
        best[1:] = np.maximum.accumulate(np.maximum(best[1:], paired))
    return float(best[-1])


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)
