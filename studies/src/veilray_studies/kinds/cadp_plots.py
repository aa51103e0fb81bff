"""The figures of the CADP study: released pictures between the floors that need no private image and raw."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from veilray.evaluation.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Style
from veilray_studies.contract import NO_CLAIM
from veilray_studies.kinds.cadp_table import CODE, PICTURES, settings_of
from veilray_studies.table import Interval, StudyTable

__all__ = ["draw"]

_TICKS = (0.5, 1, 2, 4, 8)
_CURVES: tuple[tuple[str, str, str, str, Style], ...] = (
    ("directional", "public", PICTURES, "cadp, label public", (VERMILLION, "o")),
    ("directional", "randomised", PICTURES, "cadp, label randomised", (PURPLE, "D")),
    ("null-conditional", "randomised", PICTURES, "null-conditional, label randomised", (GREY, "v")),
    ("content-code", "public", CODE, "content code, label public", (GREEN, "^")),
    ("dp-sgd", NO_CLAIM, "dp-sgd", "DP-SGD classifier (central)", (SKY, "s")),
)
"""Release, policy, learner, its name in the figure, its mark."""
_LEVELS = (
    ("raw", NO_CLAIM, "raw", BLACK, "-"),
    ("public-only", NO_CLAIM, "public-only", BLUE, "--"),
    ("null-conditional", "public", "null-conditional, label public", ORANGE, "-."),
)


def draw(rows: StudyTable, folder: Path) -> list[Path]:
    """Draw one figure of all settings, and one of the attacks; returns the files written."""
    drawn = []
    for name, figure in (("cadp-utility", _utility(rows)), ("cadp-attacks", _attacks(rows))):
        if figure is not None:
            drawn.append(folder / f"{name}.png")
            figure.savefig(drawn[-1])
    return drawn


def _utility(rows: StudyTable) -> Figure | None:
    settings = settings_of(rows)
    if not settings:
        return None
    columns = min(3, len(settings))
    lines = math.ceil(len(settings) / columns)
    figure = Figure(figsize=(4.4 * columns, 3.5 * lines + 1.2), dpi=120, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for place, setting in zip(axes, settings, strict=False):
        _setting(place, rows.where(setting=setting), setting)
    for place in axes[len(settings) :]:
        place.set_axis_off()
    found: dict[str, Artist] = {}
    for place in axes[: len(settings)]:
        for mark, label in zip(*place.get_legend_handles_labels(), strict=True):
            found.setdefault(label, mark)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Train on released pictures, test on real ones: logistic regression, mean over seeds")
    return figure


def _setting(place: Axes, mine: StudyTable, setting: str) -> None:
    for release, policy, learner, label, (colour, marker) in _CURVES:
        points = _by_epsilon(mine.where(release=release, policy=policy, learner=learner))
        if points:
            place.errorbar(
                list(points),
                [one.mean for one in points.values()],
                [0.0 if math.isnan(one.half_width) else one.half_width for one in points.values()],
                label=label,
                color=colour,
                marker=marker,
                capsize=3,
                linewidth=1.4,
            )
    for release, policy, label, colour, dashes in _LEVELS:
        level = mine.where(release=release, policy=policy, learner=PICTURES)
        if len(level):
            place.axhline(level.mean("value").mean, color=colour, linestyle=dashes, linewidth=1.2, label=label)
    metric = next(iter(mine.where(learner=PICTURES).column("metric")), "")
    place.set(xscale="log", title=setting, xlabel="whole epsilon of an image and its label", ylabel=metric)
    place.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    place.minorticks_off()
    place.grid(alpha=0.25)


def _attacks(rows: StudyTable) -> Figure | None:
    mine = rows.where(release="directional", policy="public", learner=PICTURES)
    settings = [name for name in settings_of(rows) if any(mine.where(setting=name).column("rank_one"))]
    if not settings:
        return None
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    marks = ("o", "s", "^", "D", "v", "P", "X", "*")
    colours = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY, BLACK)
    for place, (column, title) in zip(
        figure.subplots(1, 2),
        (("rank_one", "naming the record among 100 of its label"), ("verification", "same record or another: AUC")),
        strict=True,
    ):
        for setting, marker, colour in zip(settings, marks, colours, strict=False):
            group = mine.where(setting=setting)
            points = _by_epsilon(group, column)
            place.plot(list(points), [one.mean for one in points.values()], marker=marker, color=colour, label=setting)
        line = _by_epsilon(mine.where(setting=settings[0]), f"{column}_line")
        place.plot(
            list(line),
            [one.mean for one in line.values()],
            color=BLACK,
            linestyle="--",
            label="the most the claim allows",
        )
        place.set(xscale="log", title=title, xlabel="epsilon of an image", ylabel="success")
        place.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        place.minorticks_off()
        place.grid(alpha=0.25)
    place.legend(frameon=False, fontsize=8)
    return figure


def _by_epsilon(group: StudyTable, column: str = "value") -> dict[float, Interval]:
    texts = sorted({text for text in group.column("epsilon") if text != NO_CLAIM}, key=float)
    return {float(text): group.where(epsilon=text).mean(column) for text in texts}
