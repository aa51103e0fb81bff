"""The figures that set utility against attack, and attack against its theory line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from veilray.evaluation.palette import BLACK, GREY, MECHANISM_STYLES, OTHER
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

__all__ = ["Mark", "draw_attacks", "draw_frontier", "marks", "pareto_front"]

_NEGATIVE, _POSITIVE = 0.5, 1.0
"""Verification of the null release and of the source itself: the controls that an attack is scaled between."""
_ATTACKS = (
    ("rank_one", "rank-1 among 100\nof the same label", 0.01),
    ("verification", "same-image\nverification AUC", 0.5),
)
_TICKS = (0.25, 0.5, 1, 2, 4, 8)
_ASIDE = 0.25
"""Half the width, in octaves, over which the marks of one epsilon are spread."""
_EQUAL = 1e-9
"""Lines nearer than this are one: means of the same number over three and over five seeds differ in the last digit."""
_ABOVE, _POWERLESS = "above the line", "no power"
_NUMBER = {"fontsize": 8.5, "path_effects": [withStroke(linewidth=2.5, foreground="white")]}
_LEARNER = MAIN_LEARNERS["code"]


@dataclass(frozen=True)
class Mark:
    """One mechanism at one epsilon: the scaled attack and the normalised utility, both over seeds."""

    mechanism: str
    epsilon: str
    attack: Interval
    utility: Interval


def marks(rows: StudyTable, dataset: str) -> list[Mark]:
    """The settings of one data set between its controls; none while an end is not measured or leaves no room."""
    mine = chosen(rows).where(dataset=dataset, space="code", code=MAIN_CODE, learner=_LEARNER)
    if not len(mine):
        return []
    scale = scale_of(rows, dataset, "code")
    found = []
    for (mechanism,), group in mine.group(("mechanism",)).items():
        utilities, attacks = means(group), means(group, "verification")
        for epsilon in utilities.keys() & attacks.keys():
            utility = scale.share(utilities[epsilon], _LEARNER)
            if utility is not None:
                found.append(Mark(mechanism, epsilon, _scaled(attacks[epsilon]), utility))
    return sorted(found, key=lambda mark: (mark.mechanism, float(mark.epsilon)))


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (attack, utility) that no other beats in both, from the least attack to the most.

    Example:
        >>> pareto_front([(0, 0), (0.4, 0.9), (0.5, 0.7), (1, 1)])
        [(0, 0), (0.4, 0.9), (1, 1)]
    """
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def draw_frontier(rows: StudyTable) -> Figure | None:
    """Normalised utility against the scaled attack, one panel a data set; None without a setting between its ends."""
    found = {dataset: marks(rows, dataset) for dataset in datasets(rows)}
    found = {dataset: mine for dataset, mine in found.items() if mine}
    if not found:
        return None
    figure = Figure(figsize=(9, 4.9), dpi=200)
    panels = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (dataset, mine) in zip(panels, found.items(), strict=True):
        _frontier_panel(axes, mine)
        axes.set_title(f"{dataset}\n{_ends(scale_of(rows, dataset, 'code'))}", loc="left", fontsize=9.5)
        axes.set_xlabel("scaled attack: 0 null, 1 raw", fontsize=9.5)
    reached = [mark.utility.mean for mine in found.values() for mark in mine]
    panels[0].set(xlim=(-0.1, 1.2), ylim=(min(0.0, *reached) - 0.1, max(1.0, *reached) + 0.12))
    panels[0].set_ylabel("normalised utility: 0 null, 1 raw")
    figure.suptitle("What a release is worth against what an attack finds (up and left is better)", fontsize=12)
    note = "Attack: same-image verification. Numbers: epsilon of `directional`. Bars: 95 % t-interval over seeds."
    _finish(figure, panels, note)
    return figure


def draw_attacks(rows: StudyTable) -> Figure | None:
    """Rank-1 and verification against epsilon below their theory lines; None without an attacked setting."""
    attacked = chosen(rows).where(space="code", code=MAIN_CODE, learner=_LEARNER)
    attacked = StudyTable(rows.columns, [tuple(row.values()) for row in attacked if row["verification"]])
    if not len(attacked):
        return None
    names = datasets(attacked)
    figure = Figure(figsize=(9, 6.4), dpi=200)
    grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    for column, dataset in enumerate(names):
        mine = attacked.where(dataset=dataset)
        for axes, (attack, _, chance) in zip(grid[:, column], _ATTACKS, strict=True):
            _attack_panel(axes, mine, attack, chance)
        grid[0, column].set_title(dataset, loc="left", fontsize=10.5)
        grid[1, column].set_xlabel("epsilon (log scale)")
    for axes, (_, told, _) in zip(grid[:, 0], _ATTACKS, strict=True):
        axes.set_ylabel(told)
    grid[0, 0].set_yscale("log")
    grid[0, 0].set_yticks((0.01, 0.03, 0.1, 0.3, 1), ("1 %", "3 %", "10 %", "30 %", "100 %"))
    grid[0, 0].set_ylim(0.007, 1.2)
    grid[0, 0].minorticks_off()
    verdicts = [verdict for text in attacked.column("attacks_verdict") for verdict in text.split("; ")]
    told = f"{verdicts.count(_ABOVE)} of {len(verdicts)} refuted the claim"
    if powerless := verdicts.count(_POWERLESS):
        told += f", {powerless} had no power to"
    figure.suptitle(f"Attacks against what the claim allows: {told}", fontsize=12)
    note = "Bars: 95 % t-interval over seeds. A claim is refuted where the lower bound of an attack is above its line."
    _finish(figure, grid.ravel(), note)
    return figure


def _frontier_panel(axes: Any, mine: list[Mark]) -> None:
    corners = [(0.0, 0.0), (1.0, 1.0)]
    front = pareto_front([*corners, *((mark.attack.mean, mark.utility.mean) for mark in mine)])
    axes.step(*zip(*front, strict=True), where="post", color=GREY, linewidth=1.1, label="Pareto front", zorder=1)
    axes.scatter(*zip(*corners, strict=True), marker="*", s=110, color=BLACK, label="null and raw", zorder=4)
    for corner, name in zip(corners, ("null", "raw"), strict=True):
        axes.annotate(name, corner, (8, -3), textcoords="offset points", fontsize=9)
    for mark in mine:
        colour, marker = MECHANISM_STYLES.get(mark.mechanism, OTHER)
        axes.errorbar(
            mark.attack.mean,
            mark.utility.mean,
            np.nan_to_num(mark.utility.half_width),
            np.nan_to_num(mark.attack.half_width),
            color=colour,
            marker=marker,
            markersize=5.5,
            elinewidth=0.8,
            label=mark.mechanism,
            zorder=5 if mark.mechanism == "directional" else 3,
        )
        if mark.mechanism == "directional":
            place = (mark.attack.mean, mark.utility.mean)
            axes.annotate(mark.epsilon, place, (0, 7), textcoords="offset points", ha="center", zorder=6, **_NUMBER)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _attack_panel(axes: Any, mine: StudyTable, attack: str, chance: float) -> None:
    groups = {mechanism: group for (mechanism,), group in mine.group(("mechanism",)).items()}
    _theory_lines(axes, {mechanism: means(group, f"{attack}_line") for mechanism, group in groups.items()})
    axes.axhline(chance, color=GREY, linestyle=":", linewidth=1.1, label="chance", zorder=1)
    for place, (mechanism, group) in enumerate(groups.items()):
        points = means(group, attack)
        colour, marker = MECHANISM_STYLES.get(mechanism, OTHER)
        aside = 1.5 * _ASIDE * (place - (len(groups) - 1) / 2) / max(1, len(groups) - 1)
        axes.errorbar(
            [float(text) * 2**aside for text in points],
            [point.mean for point in points.values()],
            bars(points.values()),
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="none",
            elinewidth=0.9,
            label=mechanism,
            zorder=3,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(_TICKS, [f"{tick:g}".removeprefix("0") for tick in _TICKS])
    axes.set_xlim(0.2, 10)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _theory_lines(axes: Any, lines: Mapping[str, Mapping[str, Interval]]) -> None:
    """The highest line once, and one in its own colour for each mechanism whose claim allows less."""
    highest: dict[str, float] = {}
    for line in lines.values():
        for epsilon, value in line.items():
            highest[epsilon] = max(value.mean, highest.get(epsilon, 0.0))
    top = sorted(highest.items(), key=lambda item: float(item[0]))
    axes.plot(*_plateaus(top), color=BLACK, linewidth=1.2, label="line of the claim")
    for mechanism, line in lines.items():
        if any(value.mean < highest[epsilon] - _EQUAL for epsilon, value in line.items()):
            axes.plot(
                *_plateaus([(epsilon, value.mean) for epsilon, value in line.items()]),
                color=MECHANISM_STYLES.get(mechanism, OTHER)[0],
                linestyle="--",
                linewidth=1.2,
                label=f"line of {mechanism}",
            )


def _plateaus(line: Iterable[tuple[str, float]]) -> tuple[list[float], list[float]]:
    """A line that is level about each epsilon, for the marks stand a little aside of theirs."""
    corners = [(float(text) * 2**aside, value) for text, value in line for aside in (-_ASIDE, _ASIDE)]
    return [x for x, _ in corners], [y for _, y in corners]


def _scaled(attack: Interval) -> Interval:
    """Verification between its negative control 0 and its positive control 1."""
    room = _POSITIVE - _NEGATIVE
    return Interval((attack.mean - _NEGATIVE) / room, attack.half_width / room, attack.count)


def _ends(scale: Scale) -> str:
    return f"{scale.metric.replace('auc', 'AUC')}: null {scale.floor:.3f}, raw {scale.raw[_LEARNER].mean:.3f}"


def _finish(figure: Figure, panels: Iterable[Any], note: str) -> None:
    """One legend for all panels below them, and the note below that."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    inch = 1 / figure.get_figheight()
    rows = 2 if len(handles) > 6 else 1
    figure.tight_layout(rect=(0, (0.4 + 0.2 * rows) * inch, 1, 0.99))
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="lower center",
        bbox_to_anchor=(0.5, 0.22 * inch),
        ncols=-(-len(handles) // rows),
        frameon=False,
        fontsize=9.5,
    )
    figure.text(0.5, 0.08 * inch, note, ha="center", fontsize=8.5, color=GREY)
