"""The figures of the obfuscation study: every attack on every setting, what the cloud learns, and the two together."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from veilray.evaluation.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from veilray.evaluation.study.kinds.obfuscation_settings import RAW, SETTINGS
from veilray.evaluation.study.kinds.obfuscation_table import ATTACKS, data_of, opened, settings_of
from veilray.evaluation.study.table import StudyTable

__all__ = ["draw"]

_PICTURES = ATTACKS[:8]
_UTILITY = "utility-level-sets"
_STYLES = {
    "none": (VERMILLION, "o"),
    "vae": (BLUE, "s"),
    "map-vae": (SKY, "D"),
    "pca": (GREEN, "^"),
    "map-pca": (ORANGE, "v"),
}
_COUNTS = (1, 2, 5, 10)


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
    figure = Figure(figsize=(4.6 * len(data) + 2.4, 6.4), dpi=120, layout="constrained")
    image = None
    for place, name in zip(figure.subplots(1, len(data), squeeze=False)[0], data, strict=True):
        mine = rows.where(data=name)
        settings = [setting for setting in settings_of(mine.where(figure="negative")) if setting != RAW]
        values = np.array([[_opened(mine, setting, attack) for attack in ATTACKS] for setting in settings])
        image = place.imshow(np.clip(values, 0, 1), cmap="magma_r", vmin=0, vmax=1, aspect="auto")
        for (line, column), value in np.ndenumerate(values):
            if not math.isnan(value):
                place.text(
                    column,
                    line,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="w" if value > 0.5 else "k",
                )
        place.set_xticks(range(len(ATTACKS)), ATTACKS, rotation=60, ha="right", fontsize=7)
        titles = [SETTINGS[setting].title for setting in settings] if name == data[0] else [""] * len(settings)
        place.set_yticks(range(len(settings)), titles, fontsize=7)
        place.set_title(name)
    if image is not None:
        figure.colorbar(image, ax=figure.axes, shrink=0.6, label="0: mean image or chance, 1: as if not obfuscated")
    figure.suptitle("How far each attack comes (empirical, no formal guarantee)")
    return figure


def _frontier(rows: StudyTable) -> Figure | None:
    """Utility of the network on level sets against the worst reconstruction."""
    data = [name for name in data_of(rows) if len(rows.where(data=name, measure=_UTILITY))]
    if not data:
        return None
    figure = Figure(figsize=(4.6 * len(data), 4.8), dpi=120, layout="constrained")
    for place, name in zip(figure.subplots(1, len(data), squeeze=False)[0], data, strict=True):
        mine = rows.where(data=name)
        for setting in settings_of(mine):
            utility = _learned(mine.where(setting=setting, measure=_UTILITY))
            worst = 1.0 if setting == RAW else _worst(mine, setting)
            if math.isnan(utility) or math.isnan(worst):
                continue
            colour, marker = (BLACK, "*") if setting == RAW else _STYLES[SETTINGS[setting].model]
            one_map = setting != RAW and SETTINGS[setting].scope == "key"
            place.plot(worst, utility, marker, color=colour, fillstyle="none" if one_map else "full", markersize=8)
            place.annotate(setting, (worst, utility), fontsize=6, xytext=(4, 3), textcoords="offset points")
        chances = mine.where(measure=_UTILITY, figure="chance").column("value")
        if chances:
            place.axhline(float(chances[0]), color=GREY, linestyle=":", linewidth=1)
        metric = "auc" if len(mine.where(figure="auc")) else "accuracy"
        place.set_xlabel("worst reconstruction, 0: mean image, 1: not obfuscated")
        place.set(title=name, ylabel=f"{metric}, network on level sets")
        place.grid(alpha=0.25)
    figure.suptitle("What the cloud learns against what an attacker recovers (hollow: one map for the whole key)")
    return figure


def _pairs(rows: StudyTable) -> Figure | None:
    """SSIM against the number of known pairs."""
    mine = rows.where(measure="known-pairs")
    data = [name for name in data_of(mine) if len(mine.where(data=name, figure="ssim_with_1_pairs"))]
    if not data:
        return None
    figure = Figure(figsize=(4.4 * len(data), 3.9), dpi=120, layout="constrained")
    axes = figure.subplots(1, len(data), squeeze=False)[0]
    colours = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK)
    for place, name in zip(axes, data, strict=True):
        here = mine.where(data=name)
        for number, setting in enumerate(settings_of(here)):
            points = [
                (count, here.where(setting=setting, figure=f"ssim_with_{count}_pairs").mean("value").mean)
                for count in _COUNTS
                if len(here.where(setting=setting, figure=f"ssim_with_{count}_pairs"))
            ]
            shared = SETTINGS[setting].scope == "key"
            place.plot(
                *zip(*points, strict=True),
                marker="o" if shared else "x",
                linestyle="-" if shared else ":",
                color=colours[number % len(colours)],
                label=SETTINGS[setting].title,
            )
        nulls = [float(text) for text in here.where(figure="negative").column("value")]
        place.axhline(sum(nulls) / len(nulls), color=GREY, linestyle="--", linewidth=1, label="mean image")
        place.set(xscale="log", title=name, xlabel="known pairs under the key", ylabel="SSIM of the reconstruction")
        place.set_xticks(_COUNTS, [str(count) for count in _COUNTS])
        place.minorticks_off()
        place.grid(alpha=0.25)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return figure


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
