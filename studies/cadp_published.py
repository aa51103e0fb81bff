"""What CADP as published leaks, and what its pictures are worth, on scikit-learn's 8x8 digits.

    python studies/cadp_published.py [--out docs] [--epochs 25]

As published, the network is trained on the very images that it then releases: 150 of each digit; the other 297 are
what classifiers are tested on. Four measurements, for both readings of the published network:

* rank-1: name the source of a release among the 150 released images of its digit, by the exact likelihood of the
  published noise, for releases one by one and in batches of 64 (the attacker knows the other 63, as differential
  privacy grants), and from the 8-bit picture alone, encoded again; against the most that the claimed epsilon allows;
* coupling: how far the latent of one image shrinks, and how many nats the other images' releases give away, when
  another image of its batch is replaced by another digit or by a white picture;
* reach: the largest log likelihood ratio of two images of a digit, in nats, where the claim allows epsilon;
* accuracy: of a logistic classifier trained on the released pictures and tested on real ones; beside it the nulls,
  which hold no image at all: latents from the prior, and the noise alone, under the same labels; and the real pictures.

Intervals are of 95 %: Clopper and Pearson's over all releases of five seeds, and Student's over seeds. Writes
`OUT/data/cadp_published.csv` and `OUT/figures/cadp-published.png`; about four minutes on one core.

Ours: the data and their size, the length of training and its batches of 64, the classifier, and the attack.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from veilray.evaluation.bootstrap import over_seeds
from veilray.evaluation.lines import reidentification
from veilray.evaluation.palette import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION
from veilray.methods.baselines import (
    AS_CONFIGURED,
    AS_RUN,
    CADPAsPublished,
    published_clip,
    published_noise_scale,
    published_radius,
    published_release,
)

READINGS = {"as run": AS_RUN, "as configured": AS_CONFIGURED}
EPSILONS = (0.5, 1.0, 2.0, 4.0)
BATCHES = (1, 64)
EACH = 150
SEEDS = 5
NULL_DRAWS = 20
SWAPS = 200

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One measurement, as it stands in the CSV; `limit` is what the claim allows, `count` what was counted."""

    date: str
    network: str
    measure: str
    of: str
    epsilon: float | None
    batch_size: int | None
    value: float
    low: float | None
    high: float | None
    count: int
    limit: float | None


@dataclass(frozen=True)
class Digits:
    """Images `(n, 1, 8, 8)` and labels: what is released, and what classifiers are tested on."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    @classmethod
    def split(cls) -> Digits:
        values, labels = load_digits(return_X_y=True)
        images = (values.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
        order = np.random.default_rng(0).permutation(len(images))
        released = np.concatenate([order[labels[order] == digit][:EACH] for digit in range(10)])
        released = released[np.random.default_rng(1).permutation(len(released))]  # a batch holds all digits
        test = np.setdiff1d(order, released)
        return cls(images[released], labels[released], images[test], labels[test])

    def galleries(self) -> list[NDArray[np.int64]]:
        """Rows of each digit."""
        return [np.flatnonzero(self.labels == digit) for digit in range(10)]

    def accuracy(self, images: NDArray[np.uint8]) -> float:
        """Of a logistic classifier trained on pictures under the first labels, tested on real ones."""
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        model.fit(images.reshape(len(images), -1), self.labels[: len(images)])
        return float(model.score(self.test_images.reshape(len(self.test_images), -1), self.test_labels))


class Study:
    """The measurements of one network."""

    def __init__(self, name: str, system: CADPAsPublished, digits: Digits) -> None:
        self.name, self.system, self.digits = name, system, digits
        self.latents = system.encode(digits.images, digits.labels)
        self.date = datetime.datetime.now(datetime.UTC).date().isoformat()

    def rows(self) -> Iterator[Row]:
        for epsilon in EPSILONS:
            yield self.reach(epsilon)
            yield self.rank_one("released picture", epsilon, 1, self.hits_from_pictures)
            yield self.rank_one("released latent", epsilon, 1, self.hits_one_by_one)
            yield self.rank_one("released latent", epsilon, 64, self.hits_in_batches)
        yield from self.coupling(1.0)
        yield from self.accuracies()

    def row(self, measure: str, of: str, value: float, **further: float | int | None) -> Row:
        blank: dict[str, float | int | None] = dict.fromkeys(("epsilon", "batch_size", "low", "high", "limit"))
        return Row(self.date, self.name, measure, of, value=value, **(blank | {"count": 1} | further))  # type: ignore[arg-type]

    # What is leaked.

    def rank_one(self, of: str, epsilon: float, batch: int, hits: Callable[[Floats, float], int]) -> Row:
        right = total = 0
        for seed in range(SEEDS):
            drawn = published_release(self.latents, epsilon, np.random.default_rng([seed, batch]), batch)
            right, total = right + hits(drawn, epsilon), total + len(drawn)
        ends = binomtest(right, total).proportion_ci(0.95, "exact")
        limit = reidentification(epsilon, EACH)
        figures = {"epsilon": epsilon, "batch_size": batch, "count": total, "limit": limit}
        return self.row("rank-1", of, right / total, low=ends.low, high=ends.high, **figures)

    def hits_one_by_one(self, drawn: Floats, epsilon: float) -> int:
        """How many releases are nearest, in the L1 norm of Laplace noise, to the clipped latent of their source."""
        clipped = self.clipped_alone(epsilon)
        right = 0
        for rows in self.digits.galleries():
            distances = np.abs(drawn[rows, None] - clipped[None, rows]).sum(axis=2)
            right += int((distances.argmin(axis=1) == np.arange(len(rows))).sum())
        return right

    def hits_from_pictures(self, drawn: Floats, epsilon: float) -> int:
        """The same from the 8-bit picture, encoded again: what clamping and rounding take away is gone."""
        labels = self.digits.labels
        return self.hits_one_by_one(self.system.encode(self.system.decode(drawn, labels), labels), epsilon)

    def hits_in_batches(self, drawn: Floats, epsilon: float) -> int:
        """Every row of the batch tells of the norm, so that the likelihood is that of all 64 rows."""
        size, radius, right = 64, published_radius(epsilon), 0
        galleries = self.digits.galleries()
        for start in range(0, len(drawn), size):
            own, released = self.latents[start : start + size], drawn[start : start + size]
            sums, whole = np.abs(own).sum(axis=0), scaled_distances(released.ravel(), own.ravel())
            for row in range(size):
                rows = galleries[self.digits.labels[start + row]]
                candidates = self.latents[rows]
                norms = (sums - np.abs(own[row]) + np.abs(candidates)).max(axis=1)
                factors = radius / np.maximum(norms, radius)
                distances = whole(factors) - np.abs(released[row] - factors[:, None] * own[row]).sum(axis=1)
                distances += np.abs(released[row] - factors[:, None] * candidates).sum(axis=1)
                right += int(rows[distances.argmin()] == start + row)
        return right

    def reach(self, epsilon: float) -> Row:
        """The claim allows a log likelihood ratio of epsilon between any two images; these are of one digit."""
        clipped = self.clipped_alone(epsilon)
        apart = [
            np.abs(clipped[rows, None] - clipped[None, rows]).sum(axis=2).max() for rows in self.digits.galleries()
        ]
        nats = float(max(apart)) / published_noise_scale(epsilon)
        return self.row("reach", "two images of a digit", nats, epsilon=epsilon, batch_size=1, limit=epsilon)

    def coupling(self, epsilon: float) -> Iterator[Row]:
        """Replace the second image of a batch; look at the first, and at all others."""
        rng, radius = np.random.default_rng(3), published_radius(epsilon)
        white = self.system.encode(np.full((10, 1, 8, 8), 255, np.uint8), np.arange(10))
        for size in (2, 64):
            for other in ("another digit", "a white picture"):
                kept, nats = [], []
                for _ in range(SWAPS):
                    chosen = rng.choice(len(self.latents), size + 1, replace=False)
                    before = self.latents[chosen[:size]]
                    after = before.copy()
                    after[1] = self.latents[chosen[size]] if other == "another digit" else white[rng.integers(10)]
                    first, second = published_clip(before, radius), published_clip(after, radius)
                    kept.append(np.abs(second[0]).sum() / np.abs(first[0]).sum())
                    moved = np.delete(np.abs(second - first).sum(axis=1), 1).sum()
                    nats.append(moved / published_noise_scale(epsilon))
                figures = {"epsilon": epsilon, "batch_size": size, "count": SWAPS}
                low, high = np.quantile(kept, [0.025, 0.975])
                of = f"size of a latent beside {other}"
                yield self.row("coupling", of, float(np.mean(kept)), low=low, high=high, **figures)
                low, high = np.quantile(nats, [0.025, 0.975])
                of = f"nats in the others' releases, {other}"
                yield self.row("coupling", of, float(np.mean(nats)), low=low, high=high, limit=epsilon, **figures)

    def clipped_alone(self, epsilon: float) -> Floats:
        return published_clip(self.latents[:, None], published_radius(epsilon))[:, 0]

    # What the pictures are worth.

    def accuracies(self) -> Iterator[Row]:
        for epsilon in EPSILONS:
            for batch in BATCHES:
                scores = []
                for seed in range(SEEDS):
                    drawn = published_release(self.latents, epsilon, np.random.default_rng([9, seed]), batch)
                    scores.append(self.digits.accuracy(self.decode(drawn)))
                yield self.score("released", scores, epsilon=epsilon, batch_size=batch)
        shape, scale = self.latents.shape, published_noise_scale(1.0)
        draws: dict[str, Callable[[np.random.Generator], Floats]] = {
            "null-conditional, prior": lambda rng: rng.standard_normal(shape),
            "null-conditional, noise alone": lambda rng: rng.laplace(0.0, scale, shape),
        }
        for name, draw in draws.items():
            rngs = [np.random.default_rng([7, seed]) for seed in range(NULL_DRAWS)]
            yield self.score(name, [self.digits.accuracy(self.decode(draw(rng))) for rng in rngs])
        yield self.row("accuracy", "real pictures", self.digits.accuracy(self.digits.images))

    def score(self, of: str, scores: list[float], **figures: float | int) -> Row:
        mean = over_seeds(scores)
        return self.row("accuracy", of, mean.value, low=mean.low, high=mean.high, count=mean.count, **figures)

    def decode(self, latents: Floats) -> NDArray[np.uint8]:
        return self.system.decode(latents, self.digits.labels[: len(latents)])


def scaled_distances(released: Floats, latents: Floats) -> Callable[[Floats], Floats]:
    """The function f -> sum |released - f latents|, for many f: |latents| weigh the distances of f to the ratios."""
    ratios, weights = released / latents, np.abs(latents)
    order = np.argsort(ratios)
    weight = np.concatenate(([0.0], weights[order].cumsum()))
    moment = np.concatenate(([0.0], (weights * ratios)[order].cumsum()))

    def distances(factors: Floats) -> Floats:
        below = np.searchsorted(ratios[order], factors)
        return np.asarray(factors * (2 * weight[below] - weight[-1]) - (2 * moment[below] - moment[-1]))

    return distances


def draw(rows: list[Row], target: Path) -> None:
    """Left: rank-1 and what the claim allows. Right: accuracy, and what is reached without any image."""
    figure = Figure(figsize=(11, 5.4))
    left, right = figure.subplots(1, 2)

    def line(axis, network: str, measure: str, of: str, batch: int, colour: str, marker: str, label: str) -> None:  # type: ignore[no-untyped-def]
        key = (network, measure, of, batch)
        mine = [row for row in rows if (row.network, row.measure, row.of, row.batch_size) == key]
        bars = [[row.value - row.low for row in mine], [row.high - row.value for row in mine]]  # type: ignore[operator]
        axis.errorbar([row.epsilon for row in mine], [row.value for row in mine], bars, color=colour, marker=marker,
                      markersize=6, capsize=3, linewidth=1.4, label=label)  # fmt: skip

    grid = np.geomspace(0.45, 4.5, 60)
    left.plot(grid, [reidentification(e, EACH) for e in grid], color=BLACK, label="the most that the claim allows")
    latent, picture = "released latent", "released picture"
    line(left, "as run", "rank-1", latent, 1, VERMILLION, "o", "one by one, latent")
    line(left, "as run", "rank-1", picture, 1, ORANGE, "s", "one by one, 8-bit picture")
    line(left, "as configured", "rank-1", latent, 1, GREEN, "v", "one by one, latent, network as configured")
    line(left, "as run", "rank-1", latent, 64, BLUE, "^", "in batches of 64, latent")
    left.set(
        ylabel="share named right among 150 of the same digit", title="Who is it?", yscale="log", ylim=(0.004, 1.1)
    )
    left.set_yticks([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], [".005", ".01", ".02", ".05", ".1", ".2", ".5", "1"])
    line(right, "as run", "accuracy", "released", 1, VERMILLION, "o", "released one by one")
    line(right, "as run", "accuracy", "released", 64, BLUE, "^", "released in batches of 64")
    fixed = {row.of: row for row in rows if row.network == "as run" and row.measure == "accuracy" and not row.epsilon}
    styles = {
        "null-conditional, prior": (BLACK, "--", "no image: latents from the prior"),
        "null-conditional, noise alone": (GREY, ":", "no image: the noise alone"),
        "real pictures": (BLACK, "-", "real pictures"),
    }
    for of, (colour, style, label) in styles.items():
        right.axhline(fixed[of].value, color=colour, linestyle=style, label=label)
    right.set(ylabel="accuracy on real digits", title="What are the pictures worth?", ylim=(0.88, 1.0))
    for axis in (left, right):
        axis.set(xscale="log", xlabel="claimed epsilon (void)")
        axis.set_xticks(EPSILONS, ["½", "1", "2", "4"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    figure.suptitle("CADP as published (Toelle et al. 2022), rebuilt, on 8x8 digits; bars: 95 % intervals", fontsize=11)
    figure.tight_layout()
    figure.savefig(target, dpi=150)


def main() -> None:
    """Train both readings, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--epochs", type=int, default=25)
    arguments = parser.parse_args()
    digits, rows = Digits.split(), []
    for name, config in READINGS.items():
        started = time.process_time()
        system = CADPAsPublished.fit(digits.images, digits.labels, 10, arguments.epochs, config=config)
        print(f"{name}: trained in {time.process_time() - started:.0f} s", flush=True)
        for row in Study(name, system, digits).rows():
            rows.append(row)
            ends = "" if row.low is None else f" ({row.low:.3f} to {row.high:.3f})"
            limit = "" if row.limit is None else f"  allowed {row.limit:.3f}"
            where = f"epsilon {row.epsilon or '-':>4} batch {row.batch_size or '-':>3}"
            print(f"{name:14} {row.measure:9} {row.of:42} {where} {row.value:.3f}{ends}{limit}", flush=True)
        print(f"{name}: measured in {time.process_time() - started:.0f} s with training", flush=True)
    with (arguments.out / "data" / "cadp_published.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            told = {key: f"{value:.5g}" if isinstance(value, float) else value for key, value in asdict(row).items()}
            writer.writerow(told)
    draw(rows, arguments.out / "figures" / "cadp-published.png")


if __name__ == "__main__":
    main()
