"""The premise of a latent release, tested: held-out latents are independent standard normals.

DP-GLOW (Shibata et al., 2023, Applied Sciences 13(18), 10132) adds noise to latents because a flow is said to
make each element an independent N(0, 1). The claim does not rest on it (the bound does), the usefulness
does. This file measures how far it is true of one flow and images it was not trained on.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from veilray.evaluation.palette import BLUE, ORANGE
from veilray.extras import needed
from veilray.flows import Glow

__all__ = ["LevelMoments", "NeighbourCorrelation", "Premise", "plot", "premise"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

BINS = np.linspace(-5, 5, 101)
LOWEST_COUNT = 20
"""Fewer images than this say nothing about a coordinate's distribution."""


@dataclass(frozen=True)
class LevelMoments:
    """Pooled moments of one level, 0, 1 and 0 under the premise; `kurtosis` is the excess over a normal's 3."""

    level: int
    elements: int
    mean: float
    deviation: float
    kurtosis: float


@dataclass(frozen=True)
class NeighbourCorrelation:
    """Mean |Pearson correlation| over images, of adjacent elements and of random pairs.

    None where there is no such pair. Pairs with an element that never varies are left out.
    """

    horizontal: float | None
    vertical: float | None
    random: float | None


@dataclass(frozen=True)
class Premise:
    """How near held-out latents are to independent standard normals.

    Args:
        images: held-out images measured.
        dimension: latent elements an image.
        pooled_statistic: Kolmogorov-Smirnov distance of all elements together from N(0, 1).
        mean_statistic: mean over coordinates of the distance of each coordinate.
        passing: share of coordinates that a Kolmogorov-Smirnov test at 1 % does not reject; .99 under the
            premise. It falls with more images when the premise is only nearly true.
        levels: pooled moments of each level, finest first.
        pixels: correlations of the images.
        latent: correlations of the latent.
        correlation_floor: mean |correlation| that independent elements show by chance with so many images.
        histogram: share of elements in each tenth from -5 to 5.
    """

    images: int
    dimension: int
    pooled_statistic: float
    mean_statistic: float
    passing: float
    levels: tuple[LevelMoments, ...]
    pixels: NeighbourCorrelation
    latent: NeighbourCorrelation
    correlation_floor: float
    histogram: tuple[float, ...]

    def to_json(self) -> str:
        """Return every figure as a JSON object."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def premise(flow: Glow, images: np.ndarray, *, random_pairs: int = 4000, seed: int = 0) -> Premise:
    """Test the premise on held-out images.

    Args:
        flow: the flow.
        images: `(n, c, h, w)` integers that the flow was not trained on, 20 or more.
        random_pairs: pairs of elements, anywhere in image or latent, beside the neighbours.
        seed: of the choice of those pairs.

    Raises:
        ValueError: for fewer than 20 images, or images of another shape.
    """
    if len(images) < LOWEST_COUNT:
        raise ValueError(f"images must be {LOWEST_COUNT} or more, got {len(images)}")
    latent = flow.encode(images)
    flat = latent.numpy()
    distances = _ks_distances(flat)
    levels = [level.double().cpu().numpy() for level in latent.levels]
    pixels = np.asarray(images, dtype=np.float64)
    counts = np.histogram(flat, BINS)[0] / flat.size
    return Premise(
        images=len(images),
        dimension=latent.dimension,
        pooled_statistic=float(_ks_distances(flat.reshape(-1, 1))[0]),
        mean_statistic=float(distances.mean()),
        passing=float((stats.kstwo.sf(distances, len(images)) > 0.01).mean()),
        levels=tuple(
            LevelMoments(
                level=index,
                elements=level[0].size,
                mean=float(level.mean()),
                deviation=float(level.std()),
                kurtosis=_kurtosis(level),
            )
            for index, level in enumerate(levels, start=1)
        ),
        pixels=_correlations([pixels], random_pairs, seed),
        latent=_correlations(levels, random_pairs, seed),
        # The correlation of n independent pairs is nearly N(0, 1/n), so its mean size is sqrt(2/(pi n)).
        correlation_floor=math.sqrt(2 / (math.pi * len(images))),
        histogram=tuple(float(share) for share in counts),
    )


def _ks_distances(columns: Floats) -> Floats:
    """Return the Kolmogorov-Smirnov distance from N(0, 1) of each column."""
    n = len(columns)
    below = stats.norm.cdf(np.sort(columns, axis=0))
    rank = np.arange(n)[:, None]
    distances: Floats = np.maximum(below - rank / n, (rank + 1) / n - below).max(axis=0)
    return distances


def _kurtosis(values: Floats) -> float:
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred**4).mean()) / variance**2 - 3 if variance > 0 else 0.0


def _correlations(maps: list[Floats], pairs: int, seed: int) -> NeighbourCorrelation:
    standard = [_standardised(level) for level in maps]
    flat = np.concatenate([level.reshape(len(level), -1) for level in standard], axis=1)
    rng = np.random.default_rng(seed)
    one = rng.integers(0, flat.shape[1], pairs)
    other = (one + rng.integers(1, flat.shape[1], pairs)) % flat.shape[1]
    return NeighbourCorrelation(
        horizontal=_mean_size([(level[..., :-1], level[..., 1:]) for level in standard]),
        vertical=_mean_size([(level[..., :-1, :], level[..., 1:, :]) for level in standard]),
        random=_mean_size([(flat[:, one], flat[:, other])]),
    )


def _standardised(values: Floats) -> Floats:
    """Return each coordinate with mean 0 and deviation 1 over the images; NaN where it never varies."""
    deviation = values.std(axis=0)
    deviation = np.where(deviation > 0, deviation, np.nan)
    result: Floats = (values - values.mean(axis=0)) / deviation
    return result


def _mean_size(pairs: list[tuple[Floats, Floats]]) -> float | None:
    sizes = np.concatenate([np.abs((one * other).mean(axis=0)).ravel() for one, other in pairs])
    sizes = sizes[np.isfinite(sizes)]
    return float(sizes.mean()) if sizes.size else None


def plot(result: Premise, path: Path | str) -> None:
    """Draw the result: the marginals against N(0, 1), and the correlations of pixels and latent.

    Args:
        result: what `premise` returned.
        path: the picture to write; its suffix sets the format (.png, .svg, .pdf).
    """
    figure = needed("matplotlib.figure", "plots", "draw figures").Figure(figsize=(11, 4.2), layout="constrained")
    marginals, levels, correlations = figure.subplots(1, 3, width_ratios=(1.3, 0.9, 1.1))

    centres = (BINS[1:] + BINS[:-1]) / 2
    density = np.asarray(result.histogram) / (BINS[1] - BINS[0])
    marginals.fill_between(centres, density, step="mid", color=BLUE, alpha=0.45, label="latent elements")
    marginals.plot(centres, stats.norm.pdf(centres), color="black", linestyle="--", label="N(0, 1)")
    marginals.set(xlabel="latent value", ylabel="density", title=f"{result.passing:.0%} of elements pass for N(0, 1)")
    marginals.legend(frameon=False, loc="upper right")

    names = [str(level.level) for level in result.levels]
    levels.axhline(1, color="black", linestyle="--", linewidth=1)
    levels.bar(names, [level.deviation for level in result.levels], color=BLUE, alpha=0.75, width=0.6)
    levels.set(xlabel="level (1 is the finest)", ylabel="standard deviation", title="Scale of each level (1 wanted)")

    kinds = ("horizontal", "vertical", "random")
    for offset, colour, label, values in (
        (-0.2, ORANGE, "pixels", result.pixels),
        (0.2, BLUE, "latent", result.latent),
    ):
        heights = [getattr(values, kind) or 0.0 for kind in kinds]
        bars = correlations.bar(np.arange(3) + offset, heights, 0.38, color=colour, label=label)
        correlations.bar_label(bars, fmt="%.2f", padding=2)
    correlations.axhline(
        result.correlation_floor, color="black", linestyle="--", linewidth=1, label="independent (chance)"
    )
    correlations.set_xticks(np.arange(3), ["left-right\nneighbours", "up-down\nneighbours", "random\npairs"])
    correlations.set(ylim=(0, 1.4), ylabel="mean |correlation|", title="Correlation of pairs")
    correlations.legend(frameon=False, loc="upper right")

    for axes in (marginals, levels, correlations):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Is the latent an independent standard normal? {result.images} held-out images")
    figure.savefig(Path(path), dpi=150)
