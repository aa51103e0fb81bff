"""The figures of the obfuscation study: every attack on every setting, what the cloud learns, and the two together."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from veilray.evaluation.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from veilray_studies.kinds.obfuscation_settings import RAW, SETTINGS
from veilray_studies.kinds.obfuscation_table import ATTACKS, data_of, opened, settings_of
from veilray_studies.table import StudyTable

__all__ = ["draw"]

_PICTURES = ATTACKS[:8]
_UTILITY = "utility-level-sets"
_STYLES = {
    "none": ("map only", (VERMILLION, "o")),
    "vae": ("VAE first", (BLUE, "s")),
    "map-vae": ("map, then VAE", (SKY, "D")),
    "pca": ("PCA first", (GREEN, "^")),
    "map-pca": ("map, then PCA", (ORANGE, "v")),
}
_COUNTS = (1, 2, 5, 10)
_COLUMNS = 2


def draw(rows: StudyTable, folder: Path) -> list[Path]:
    """Draw what has rows; returns the files written."""
    made = (
        ("obfuscation-attacks", _attacks(rows)),
        ("obfuscation-frontier", _frontier(rows)),
        ("obfuscation-pairs", _pairs(rows)),
    )
    drawn = []
    for name, figure in made:
        if figure is not None:
            drawn.append(folder / f"{name}.png")
            figure.savefig(drawn[-1])
    return drawn


def _attacks(rows: StudyTable) -> Figure | None:
    """One panel a data set: how far each attack opens each setting."""
    data = [name for name in data_of(rows) if len(rows.where(data=name, figure="negative"))]
    if not data:
        return None
    attacked = rows.where(figure="negative")
    settings = [setting for setting in settings_of(attacked) if setting != RAW]
    figure, places = _panels(len(data), 5.6, 5.2)
    image = None
    for number, (place, name) in enumerate(zip(places, data, strict=True)):
        mine = rows.where(data=name)
        values = np.array([[_opened(mine, setting, attack) for attack in ATTACKS] for setting in settings])
        image = place.imshow(np.clip(values, 0, 1), cmap="magma_r", vmin=0, vmax=1, aspect="auto")
        for (line, column), value in np.ndenumerate(values):
            if not math.isnan(value):
                text, colour = f"{value:.2f}" if value > 0 else "0", "w" if value > 0.5 else "k"
                place.text(column, line, text, ha="center", va="center", fontsize=6, color=colour)
        place.set_xticks(range(len(ATTACKS)), ATTACKS, rotation=60, ha="right", fontsize=7)
        titles = [SETTINGS[setting].title for setting in settings]
        place.set_yticks(range(len(settings)), titles if number % _COLUMNS == 0 else [""] * len(titles), fontsize=7)
        place.set_title(name)
    if image is not None:
        figure.colorbar(image, ax=places, shrink=0.5, label="0: mean image or chance, 1: as if not obfuscated")
    figure.suptitle("How far each attack comes (empirical, no formal guarantee)")
    return figure


def _frontier(rows: StudyTable) -> Figure | None:
    """Utility of the network on level sets against the worst reconstruction."""
    data = [name for name in data_of(rows) if len(rows.where(data=name, measure=_UTILITY))]
    if not data:
        return None
    figure, places = _panels(len(data), 5.4, 4.6)
    for place, name in zip(places, data, strict=True):
        mine = rows.where(data=name)
        points = _points(mine)
        for setting, (worst, utility) in points.items():
            colour, marker = _style(setting)
            one_map = setting != RAW and SETTINGS[setting].scope == "key"
            place.plot(worst, utility, marker, color=colour, fillstyle="none" if one_map else "full", markersize=8)
        best = _undominated(points)
        for number, setting in enumerate(best, 1):
            place.annotate(str(number), points[setting], fontsize=7, xytext=(5, 4), textcoords="offset points")
        titles = ["raw" if setting == RAW else SETTINGS[setting].title for setting in best]
        listed = "\n".join(f"{number}  {title}" for number, title in enumerate(titles, 1))
        plain = {"facecolor": "w", "edgecolor": "none", "pad": 1.5}
        place.text(0.98, 0.03, listed, fontsize=6.5, ha="right", va="bottom", transform=place.transAxes, bbox=plain)
        chances = mine.where(measure=_UTILITY, figure="chance").column("value")
        if chances:
            place.axhline(float(chances[0]), color=GREY, linestyle=":", linewidth=1)
        metric = "auc" if len(mine.where(figure="auc")) else "accuracy"
        place.set_xlabel("worst reconstruction, 0: mean image, 1: not obfuscated")
        place.set(title=name, ylabel=f"{metric}, network on level sets")
        place.grid(alpha=0.25)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=title)
        for title, (colour, marker) in (("raw", _style(RAW)), *_STYLES.values())
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    figure.suptitle("What the cloud learns against what an attacker recovers (hollow: one map for the whole key)")
    return figure


def _points(mine: StudyTable) -> dict[str, tuple[float, float]]:
    """Worst reconstruction and utility of each setting that has both; a picture as it is needs no reconstruction."""
    found = {}
    for setting in settings_of(mine):
        utility = _learned(mine.where(setting=setting, measure=_UTILITY))
        worst = 1.0 if setting == RAW else _worst(mine, setting)
        if not (math.isnan(utility) or math.isnan(worst)):
            found[setting] = (worst, utility)
    return found


def _undominated(points: dict[str, tuple[float, float]]) -> list[str]:
    """Settings that no other beats: less recovered, and as much learned or more. The least recovered comes first."""
    return [
        name
        for name, (worst, utility) in sorted(points.items(), key=lambda point: point[1])
        if not any(other < worst and learned >= utility for other, learned in points.values())
    ]


def _style(setting: str) -> tuple[str, str]:
    return (BLACK, "*") if setting == RAW else _STYLES[SETTINGS[setting].model][1]


def _pairs(rows: StudyTable) -> Figure | None:
    """SSIM against the number of known pairs, of settings with one map: of others a pair tells nothing."""
    mine = rows.where(measure="known-pairs")
    data = [name for name in data_of(mine) if len(mine.where(data=name, figure="ssim_with_1_pairs"))]
    if not data:
        return None
    figure, places = _panels(len(data), 4.8, 3.6)
    shared = [setting for setting in settings_of(mine) if SETTINGS[setting].scope == "key"]
    colours = dict(zip(shared, cycle((VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK))))
    lines: dict[str, Artist] = {}
    for place, name in zip(places, data, strict=True):
        here = mine.where(data=name)
        for setting in shared:
            points = [
                (count, here.where(setting=setting, figure=f"ssim_with_{count}_pairs").mean("value").mean)
                for count in _COUNTS
                if len(here.where(setting=setting, figure=f"ssim_with_{count}_pairs"))
            ]
            if points:
                (drawn,) = place.plot(*zip(*points, strict=True), marker="o", color=colours[setting])
                lines[SETTINGS[setting].title] = drawn
        nulls = [float(text) for text in here.where(figure="negative").column("value")]
        null = sum(nulls) / len(nulls)
        lines["mean image"] = place.axhline(null, color=GREY, linestyle="--", linewidth=1)
        place.set(xscale="log", title=name, xlabel="known pairs under the key", ylabel="SSIM of the reconstruction")
        place.set_xticks(_COUNTS, [str(count) for count in _COUNTS])
        place.minorticks_off()
        place.grid(alpha=0.25)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many places, two in a row, each of this size in inches."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), dpi=110, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in places[count:]:
        spare.set_axis_off()
    return figure, places[:count]


def _opened(mine: StudyTable, setting: str, attack: str) -> float:
    group = mine.where(setting=setting, measure=attack)
    return opened(group) if len(group.where(figure="score")) else math.nan


def _worst(mine: StudyTable, setting: str) -> float:
    values = [_opened(mine, setting, attack) for attack in _PICTURES]
    found = [value for value in values if not math.isnan(value)]
    return max(found, default=math.nan)


def _learned(group: StudyTable) -> float:
    for metric in ("auc", "accuracy"):
        if len(group.where(figure=metric)):
            return group.where(figure=metric).mean("value").mean
    return math.nan
