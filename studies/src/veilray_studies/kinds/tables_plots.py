"""The figure of the study of tables: released rows between the floors that need no private row and raw."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from veilray.evaluation.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Style
from veilray_studies.contract import NO_CLAIM
from veilray_studies.kinds.tables_settings import TABLES
from veilray_studies.table import Interval, StudyTable

__all__ = ["draw"]

_TICKS = (0.5, 1, 2, 4, 8)
_SETTINGS = ("labelled", "scarce")
_CURVES: tuple[tuple[str, str, str, Style], ...] = (
    ("directional", "public", "cadp, condition public", (VERMILLION, "o")),
    ("directional", "randomised", "cadp, condition randomised", (PURPLE, "D")),
    ("k-rr-split", "public", "k-RR, budget split", (GREEN, "^")),
    ("k-rr-sampled", "public", "k-RR, one column sampled", (GREY, "v")),
    ("central", NO_CLAIM, "central synthesiser (delta 1e-6)", (SKY, "s")),
)
_LEVELS = (
    ("raw", NO_CLAIM, "raw", BLACK, "-"),
    ("public-only", NO_CLAIM, "public-only", BLUE, "--"),
    ("null-conditional", "public", "null-conditional", ORANGE, "-."),
)


def draw(rows: StudyTable, folder: Path) -> list[Path]:
    """Draw one figure for each learner; returns the files written."""
    drawn = []
    for learner in ("linear", "boosting"):
        mine = rows.where(learner=learner)
        if len(mine):
            drawn.append(folder / f"tables-{learner}.png")
            _figure(mine, learner).savefig(drawn[-1])
    return drawn


def _figure(rows: StudyTable, learner: str) -> Figure:
    figure = Figure(figsize=(13, 7.6), dpi=110, layout="constrained")
    grid = figure.subplots(len(_SETTINGS), len(TABLES), squeeze=False)
    for line, setting in zip(grid, _SETTINGS, strict=True):
        for place, table in zip(line, TABLES, strict=True):
            _panel(place, rows.where(table=table, setting=setting), f"{table}, public half {setting}")
    found: dict[str, Artist] = {}
    for place in grid.ravel():
        for mark, label in zip(*place.get_legend_handles_labels(), strict=True):
            found.setdefault(label, mark)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Train on released rows, test on real ones: {learner} learner, mean over seeds with its interval")
    return figure


def _panel(place: Axes, mine: StudyTable, title: str) -> None:
    for release, policy, label, (colour, marker) in _CURVES:
        points = _by_epsilon(mine.where(release=release, policy=policy))
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
        level = mine.where(release=release, policy=policy)
        if len(level):
            place.axhline(level.mean("value").mean, color=colour, linestyle=dashes, linewidth=1.2, label=label)
    metric = next(iter(mine.column("metric")), "")
    place.set(
        xscale="log", title=title, xlabel="epsilon of a whole row", ylabel="R squared" if metric == "r2" else "AUC"
    )
    place.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    place.minorticks_off()
    place.grid(alpha=0.25)
    if metric == "r2":
        place.set_ylim(bottom=max(-0.3, place.get_ylim()[0]))


def _by_epsilon(group: StudyTable) -> dict[float, Interval]:
    texts = sorted({text for text in group.column("epsilon") if text != NO_CLAIM}, key=float)
    return {float(text): group.where(epsilon=text).mean("value") for text in texts}
