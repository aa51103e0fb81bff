"""What each k would have given: forced k beside the same numbers without noise. Hindsight, no fair choice of k.

The scores are those of the real test images, so a k picked here was picked with their help. The page shows them to
tell how much of a miss is the noise and how much is the choice of k.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from veilray.evaluation.palette import BLACK, BLUE, GREY, VERMILLION, Style
from veilray_studies.contract import NO_CLAIM
from veilray_studies.kinds.utility_scale import (
    MAIN_CODE,
    MAIN_LEARNERS,
    bars,
    chosen,
    datasets,
    forced,
)
from veilray_studies.markdown import markdown
from veilray_studies.table import Interval, StudyTable

__all__ = ["draw_keeps", "keeps", "keeps_table"]

_RELEASED = "directional"
_CLEAR: Mapping[str, str] = {"raw": "no noise", "bounded": "no noise, direction alone"}
_STYLES: Mapping[str, Style] = {"raw": (BLACK, "s"), "bounded": (GREY, "D"), "1": (BLUE, "o"), "4": (VERMILLION, "^")}
_ASIDE = 0.06
"""Octaves between the marks of one k."""
_LEARNER = MAIN_LEARNERS["code"]

Keeps = dict[str, dict[int, Interval]]


def keeps(rows: StudyTable, dataset: str) -> Keeps:
    """Means over seeds by k, smallest first: of `raw` and `bounded`, and of each epsilon, smallest first."""
    mine = forced(rows).where(dataset=dataset, code=MAIN_CODE, space="code", learner=_LEARNER)
    found: Keeps = {}
    for (mechanism, epsilon), group in mine.group(("mechanism", "epsilon")).items():
        points = {int(keep): each.mean("value") for (keep,), each in group.group(("keep",)).items()}
        found[mechanism if epsilon == NO_CLAIM else epsilon] = dict(sorted(points.items()))
    return dict(sorted(found.items(), key=_place))


def keeps_table(rows: StudyTable, dataset: str) -> str:
    """A Markdown table: one line a k. What the rehearsal on public images chose is in bold type.

    Raises:
        ValueError: where the table has no row of a forced k of this data set.
    """
    found = keeps(rows, dataset)
    if not found:
        raise ValueError(f"dataset must have rows with a forced k in the table, got none of {dataset}")
    picked = _picked(rows, dataset)
    lines = [["k", *(_CLEAR.get(name, f"epsilon {name}") for name in found)]]
    for keep in sorted({keep for points in found.values() for keep in points}):
        texts = [_cell(points.get(keep), picked.get(name) == keep) for name, points in found.items()]
        lines.append([str(keep), *texts])
    return markdown(lines)


def draw_keeps(rows: StudyTable, baselines: Mapping[str, float], note: str) -> Figure | None:
    """Scores against k, one panel a data set, with the chosen k ringed; None without a forced k.

    Args:
        baselines: a score of each data set that is drawn across its panel.
        note: what that is.
    """
    names = [dataset for dataset in datasets(rows) if keeps(rows, dataset)]
    if not names:
        return None
    figure = Figure(figsize=(9, 4.6), dpi=200)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, dataset in zip(panels, names, strict=True):
        _panel(axes, rows, dataset)
        if dataset in baselines:
            axes.axhline(baselines[dataset], color=BLACK, linestyle=":", linewidth=1.1, label=note, zorder=1)
        metric = forced(rows).where(dataset=dataset).column("metric")[0]
        axes.set_title(f"{dataset}: {'AUC' if metric == 'auc' else metric}", loc="left", fontsize=10)
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.suptitle("What each k would have given, looked at afterwards", fontsize=12)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.legend(
        handles.values(), handles.keys(), loc="lower center", bbox_to_anchor=(0.5, 0.045), ncols=len(handles),
        frameon=False, fontsize=9,
    )  # fmt: skip
    shown = f"Code {MAIN_CODE}, mechanism {_RELEASED}, {_LEARNER}. Rings: the k that public images chose. "
    figure.text(0.5, 0.015, f"{shown}Bars: 95 % t-interval over seeds.", ha="center", fontsize=8.5, color=GREY)
    return figure


def _panel(axes: Any, rows: StudyTable, dataset: str) -> None:
    picked = _picked(rows, dataset)
    for place, (name, points) in enumerate(keeps(rows, dataset).items()):
        aside = 2 ** (_ASIDE * (place - 1.5))
        colour, marker = _STYLES.get(name, (GREY, "X"))
        scores = [point.mean for point in points.values()]
        axes.errorbar(
            [keep * aside for keep in points],
            scores,
            bars(points.values()),
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="--" if name in _CLEAR else "-",
            linewidth=1.4,
            elinewidth=0.9,
            label=_CLEAR.get(name, f"epsilon {name}"),
            zorder=3,
        )
        keep = picked.get(name)
        if keep in points:
            ring = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "markeredgewidth": 1.6}
            axes.plot([keep * aside], [points[keep].mean], color=colour, linestyle="none", zorder=4, **ring)
    axes.set_xscale("log", base=2)
    ticks = (1, 2, 4, 8, 16, 32)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("k, the numbers kept (log scale)")
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _picked(rows: StudyTable, dataset: str) -> dict[str, int]:
    """The k that the public images chose, by epsilon."""
    mine = chosen(rows).where(dataset=dataset, code=MAIN_CODE, space="code", mechanism=_RELEASED, learner=_LEARNER)
    return {row["epsilon"]: int(row["kept"]) for row in mine}


def _cell(found: Interval | None, picked: bool) -> str:
    if found is None:
        return ""
    text = f"{found.mean:.3f}"
    if not math.isnan(found.half_width):
        text += f" ± {found.half_width:.3f}"
    return f"**{text}**" if picked else text


def _place(item: tuple[str, Any]) -> tuple[int, float]:
    name = item[0]
    return (list(_CLEAR).index(name), 0.0) if name in _CLEAR else (len(_CLEAR), float(name))
