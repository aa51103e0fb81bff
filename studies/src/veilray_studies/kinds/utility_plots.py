"""The figures of a utility study: utility against epsilon, and utility against what an attack finds.

Every mark is a mean over seeds and every bar the 95 % t-interval of that mean (Student 1908). A figure whose rows are
not in the table yet is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from veilray.evaluation.palette import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    MECHANISM_STYLES,
    ORANGE,
    OTHER,
    PURPLE,
    VERMILLION,
    Style,
)
from veilray_studies.kinds.utility_attacks import draw_attacks, draw_frontier
from veilray_studies.kinds.utility_keeps import draw_keeps
from veilray_studies.kinds.utility_scale import (
    MAIN_CODE,
    MAIN_LEARNERS,
    Scale,
    bars,
    chosen,
    datasets,
    means,
    scale_of,
)
from veilray_studies.table import Interval, StudyTable

__all__ = ["BASELINES", "draw"]


@dataclass(frozen=True)
class Baseline:
    """Earlier figures of the same protocol, shown as crosses: means by epsilon, and what they are of."""

    label: str
    source: str
    values: Mapping[str, float]


_PCA = "a PCA code with a logistic probe, the directional mechanism, the best k at each epsilon"
BASELINES: Mapping[tuple[str, str], Baseline] = {
    ("chest-x-ray", "code"): Baseline("pixel PCA baseline", _PCA, {"0.5": 0.793, "1": 0.868, "2": 0.902, "4": 0.910}),
    ("fashion-mnist", "code"): Baseline("pixel PCA baseline", _PCA, {"0.5": 0.567, "1": 0.664, "2": 0.723, "4": 0.762}),
    ("chest-x-ray", "image"): Baseline(
        "32x32 prototype",
        "a conditional Glow of 32 x 32 pictures under a PCA code, linear probe on corrected pictures",
        {"1": 0.774, "2": 0.858, "4": 0.872},
    ),
}
"""By data set and space. Feasibility studies of this project, 3 or 8 seeds: one probe, no interval was kept."""

_KEEPS = "utility-keeps"
_AT_FOUR = {dataset: found.values["4"] for (dataset, space), found in BASELINES.items() if space == "code"}

_CODE_STYLES: Mapping[str, Style] = {
    "invariant": (VERMILLION, "o"),
    "pixels": (BLUE, "s"),
    "vae": (GREEN, "^"),
    "gram": (ORANGE, "D"),
    "levels": (PURPLE, "v"),
}
_LEARNER_STYLES: Mapping[str, Style] = {"logistic": (BLUE, "o"), "cnn": (GREEN, "s"), "resnet": (PURPLE, "^")}
_METRICS = {"auc": "area under the ROC curve", "accuracy": "accuracy"}
_TICKS = (0.25, 0.5, 1, 2, 4, 8)


@dataclass(frozen=True)
class Curve:
    """Means by epsilon under one name; an `open` one has hollow marks and a dashed line."""

    label: str
    style: Style
    points: Mapping[str, Interval]
    open: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line, with its interval as a band."""

    label: str
    colour: str
    dashes: str
    value: Interval


def draw(rows: StudyTable, folder: Path) -> list[Path]:
    """Draw every figure that the table has rows for into `folder`; returns the files written."""
    whole_table, rows = rows, chosen(rows)
    drawn: list[Path] = []
    for dataset in datasets(rows):
        for name, figure in (
            ("utility", _mechanisms(rows, dataset)),
            ("utility-pictures", _pictures(rows, dataset)),
            ("utility-codes", _codes(rows, dataset)),
        ):
            if figure is not None:
                drawn.append(folder / f"{name}-{dataset}.png")
                figure.savefig(drawn[-1])
    hindsight = draw_keeps(whole_table, _AT_FOUR, "pixel PCA baseline, epsilon 4")
    for name, whole in (("frontier", draw_frontier(rows)), ("attacks", draw_attacks(rows)), (_KEEPS, hindsight)):
        if whole is not None:
            drawn.append(folder / f"{name}.png")
            whole.savefig(drawn[-1])
    return drawn


def _mechanisms(rows: StudyTable, dataset: str) -> Figure | None:
    """Code-space learners under every mechanism."""
    mine = rows.where(dataset=dataset, space="code", code=MAIN_CODE)
    curves = []
    for (mechanism, learner), group in mine.group(("mechanism", "learner")).items():
        aware = learner != MAIN_LEARNERS["code"]
        told = f"{mechanism}, {learner}" if mechanism == "directional" else mechanism
        curves.append(Curve(told, MECHANISM_STYLES.get(mechanism, OTHER), means(group), open=aware))
    curves = _measured(curves)
    if not curves:
        return None
    scale = scale_of(rows, dataset, "code")
    return _figure(
        curves,
        [*_raw(scale, {MAIN_LEARNERS["code"]: ("raw", BLACK)}), *_floors(scale)],
        BASELINES.get((dataset, "code")),
        f"{dataset}: train on released codes, test on real images",
        scale.metric,
        "gaussian is (epsilon, 1e-6), the others pure. " if "gaussian" in mine.column("mechanism") else "",
    )


def _pictures(rows: StudyTable, dataset: str) -> Figure | None:
    """Learners on decoded pictures of the directional mechanism."""
    mine = rows.where(dataset=dataset, space="image", code=MAIN_CODE, mechanism="directional")
    styled = {learner: _LEARNER_STYLES.get(learner, OTHER) for learner in dict.fromkeys(mine.column("learner"))}
    curves = _measured(Curve(learner, style, means(mine.where(learner=learner))) for learner, style in styled.items())
    if not curves:
        return None
    scale = scale_of(rows, dataset, "image")
    raw = _raw(scale, {learner: (f"raw, {learner}", colour) for learner, (colour, _) in styled.items()})
    return _figure(
        curves,
        [*raw, *_floors(scale)],
        BASELINES.get((dataset, "image")),
        f"{dataset}: train on released pictures, test on real images",
        scale.metric,
        "Directional mechanism. ",
    )


def _codes(rows: StudyTable, dataset: str) -> Figure | None:
    """Kept codes compared under the directional mechanism."""
    learner = MAIN_LEARNERS["code"]
    mine = rows.where(dataset=dataset, space="code", mechanism="directional", learner=learner)
    curves = _measured(
        Curve(code, _CODE_STYLES.get(code, OTHER), means(group)) for (code,), group in mine.group(("code",)).items()
    )
    if {curve.label for curve in curves} <= {MAIN_CODE}:
        return None
    scale = scale_of(rows, dataset, "code")
    return _figure(
        curves,
        [*_raw(scale, {learner: (f"raw, {MAIN_CODE}", BLACK)}), *_floors(scale)],
        None,
        f"{dataset}: which kept code, train on released, test on real images",
        scale.metric,
        f"Directional mechanism, {learner}. ",
    )


def _measured(curves: Iterable[Curve]) -> list[Curve]:
    return [curve for curve in curves if curve.points]


def _raw(scale: Scale, shown: Mapping[str, tuple[str, str]]) -> list[Level]:
    """A line for the raw score of each learner, with its name and colour."""
    return [
        Level(name, colour, "-", scale.raw[learner])
        for learner, (name, colour) in shown.items()
        if learner in scale.raw
    ]


def _floors(scale: Scale) -> list[Level]:
    floors = [] if scale.null is None else [Level("null", GREY, "--", scale.null)]
    if scale.chance is not None:
        floors.append(Level("chance", GREY, ":", Interval(scale.chance, 0.0, 1)))
    return floors


def _figure(
    curves: Sequence[Curve], levels: Sequence[Level], baseline: Baseline | None, title: str, metric: str, note: str
) -> Figure:
    """Utility against epsilon, every line named at its right end."""
    figure = Figure(figsize=(9, 5.2), dpi=200)
    axes = figure.add_axes((0.08, 0.165, 0.65, 0.755))
    look: dict[str, Any]
    ends: list[tuple[float, str, dict[str, Any]]] = []
    for level in levels:
        line = axes.axhline(level.value.mean, color=level.colour, linestyle=level.dashes, linewidth=1.2, zorder=1)
        if level.value.half_width > 0:
            axes.axhspan(level.value.low, level.value.high, color=level.colour, alpha=0.12, linewidth=0, zorder=0)
        look = {"color": line.get_color(), "linestyle": line.get_linestyle(), "linewidth": 1.2}
        ends.append((level.value.mean, f"{level.label} {_short(level.value.mean)}", look))
    for place, curve in enumerate(curves):
        aside = 0.13 * (place - (len(curves) - 1) / 2) / max(1, len(curves) - 1)
        look = _look(curve)
        axes.errorbar(
            [float(text) * 2**aside for text in curve.points],
            [point.mean for point in curve.points.values()],
            bars(curve.points.values()),
            elinewidth=1,
            **look,
        )
        ends.append(([point.mean for point in curve.points.values()][-1], curve.label, look))
    if baseline is not None:
        look = {"color": BLACK, "marker": "x", "markersize": 6, "linestyle": "none", "zorder": 5}
        axes.plot([float(text) for text in baseline.values], list(baseline.values.values()), **look)
        ends.append((list(baseline.values.values())[-1], baseline.label, look))
    axes.set_xscale("log", base=2)
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.set(xlim=(0.22, 9.1), xlabel="epsilon of a whole image (log scale)", ylabel=_METRICS.get(metric, metric))
    axes.set_title(title, loc="left", fontsize=12)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _name_ends(axes, ends)
    shown = f"{note}Means and 95 % t-intervals over seeds, on the same test images."
    if baseline is not None:
        shown += f"\nCrosses: {baseline.source}."
    figure.text(0.08, 0.01, shown, fontsize=8.5, color=GREY, va="bottom")
    return figure


def _look(curve: Curve) -> dict[str, Any]:
    colour, marker = curve.style
    return {
        "color": colour,
        "marker": marker,
        "markersize": 5.5,
        "markerfacecolor": "white" if curve.open else colour,
        "linestyle": "--" if curve.open else "-",
        "linewidth": 1.6,
        "zorder": 3,
    }


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _name_ends(axes: Any, ends: Sequence[tuple[float, str, dict[str, Any]]]) -> None:
    """Write each name right of the axes, as near to the height at which its line ends as the others let it."""
    low, high = axes.get_ylim()
    gap = 0.052 * (high - low)
    ordered = sorted(ends, key=lambda end: end[0])
    heights: list[float] = []
    for height, _, _ in ordered:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    for place in range(len(heights) - 1, -1, -1):
        heights[place] = min(heights[place], high if place == len(heights) - 1 else heights[place + 1] - gap)
    along = axes.get_yaxis_transform()
    for height, (_, name, look) in zip(heights, ordered, strict=True):
        where = [1.012, 1.03, 1.048] if look["linestyle"] != "none" else [1.03]
        shown = {**look, "markevery": [len(where) // 2], "clip_on": False, "transform": along}
        axes.plot(where, [height] * len(where), **shown)
        axes.text(1.06, height, name, transform=along, va="center", fontsize=9.5, color=BLACK)
    axes.set_ylim(low, high)
