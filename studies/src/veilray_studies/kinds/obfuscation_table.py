"""The figures of the obfuscation study as Markdown tables, and which setting resists which attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from veilray_studies.kinds.obfuscation_settings import RAW, SETTINGS, WITHOUT_PICTURES
from veilray_studies.markdown import markdown
from veilray_studies.table import StudyTable

__all__ = [
    "ATTACKS",
    "NETWORKS",
    "TABLES",
    "TABLES_OF_ONE",
    "attack_table",
    "curve_table",
    "data_of",
    "entropy_table",
    "figures_table",
    "opened",
    "protocol_table",
    "resists_table",
    "settings_of",
    "time_table",
    "utility_table",
    "verdict",
    "verdict_table",
    "vessel_table",
]

NETWORKS = ("level-sets", "cnn", "resnet", "levels")
ATTACKS = (
    "rank-matching",
    "ciphertext-only",
    "key-reuse",
    "known-pairs",
    "grey-ramp",
    "u-net-uninformed",
    "u-net-informed",
    "u-net-same-key",
    *WITHOUT_PICTURES,
)
"""Those with a reconstruction first."""
_DATA = ("chest-x-ray", "fashion-mnist", "coronary", "angiography")
_GAINS = ("ssim_gain", "psnr_gain", "ms_ssim_gain", "edge_ssim_gain")
_HALF = 0.5
_UTILITY = tuple(f"utility-{network}" for network in NETWORKS)
_WORST_FIRST = ("opened", "leaks", "resists", "no power")


def data_of(rows: StudyTable) -> list[str]:
    """The data sets that have rows: those of the study in its order, then others."""
    found = dict.fromkeys(rows.column("data"))
    return [name for name in _DATA if name in found] + [name for name in found if name not in _DATA]


def settings_of(rows: StudyTable) -> list[str]:
    """The settings that have rows, in the order of the study."""
    found = set(rows.column("setting"))
    return [name for name in (RAW, *SETTINGS) if name in found]


def utility_table(rows: StudyTable, data: str) -> str:
    """What the cloud's networks learn of each setting, beside raw pictures and chance.

    With one seed the interval is the bootstrap over test patients (95 %), with several Student's over seeds.
    """
    mine = _of(rows, data)
    lines: list[Sequence[str]] = [("setting", *NETWORKS)]
    for setting in settings_of(mine):
        cells = [_utility(mine.where(setting=setting, measure=f"utility-{network}")) for network in NETWORKS]
        if any(cells):
            lines.append((_title(setting), *cells))
    chances = [float(row["value"]) for row in mine if row["measure"] in _UTILITY and row["figure"] == "chance"]
    if chances:
        lines.append(("chance", *[f"{max(chances):.3f}"] * len(NETWORKS)))
    return markdown(lines)


def attack_table(rows: StudyTable, data: str) -> str:
    """SSIM of each reconstruction beside the null reconstructor's, and the scores of the two other attacks.

    Bold: the attack beats its null (see `verdict`).
    """
    mine = _of(rows, data)
    lines: list[Sequence[str]] = [("setting", *ATTACKS)]
    for setting in settings_of(mine):
        cells = [_attack(mine.where(setting=setting, measure=attack)) for attack in ATTACKS]
        if any(cells):
            lines.append((_title(setting), *cells))
    nulls = [_null(mine.where(measure=attack)) for attack in ATTACKS]
    return markdown([*lines, ("knows nothing", *nulls)])


def verdict_table(rows: StudyTable, data: str) -> str:
    """Which setting resists which attack, in a word."""
    mine = _of(rows, data)
    lines: list[Sequence[str]] = [("setting", *ATTACKS)]
    for setting in settings_of(mine):
        cells = [verdict(mine.where(setting=setting, measure=attack)) for attack in ATTACKS]
        if any(cells):
            lines.append((_title(setting), *cells))
    return markdown(lines)


def resists_table(rows: StudyTable) -> str:
    """Which setting resists which attack on every data set; else the worst word, and of how many data sets."""
    lines: list[Sequence[str]] = [("setting", *ATTACKS)]
    for setting in settings_of(rows):
        cells = [_over_data(rows.where(setting=setting, measure=attack)) for attack in ATTACKS]
        if any(cells):
            lines.append((_title(setting), *cells))
    return markdown(lines)


def _over_data(group: StudyTable) -> str:
    words = [word for _, one in group.group(("data",)).items() if (word := verdict(one))]
    worst = next((word for word in _WORST_FIRST if word in words), "")
    count = words.count(worst)
    return worst if count == len(words) else f"{worst}, {count} of {len(words)}"


def verdict(group: StudyTable) -> str:
    """`resists`, `leaks` or `opened`, of one attack on one setting.

    resists: no gain over the null (SSIM, PSNR, MS-SSIM, edge SSIM; for the others the score) whose interval lies above
    0, of any seed. opened: above the null, by half of the way to unobfuscated pictures or more in the score. leaks:
    between. `no power` where the attack fails on unobfuscated pictures. Empty: not measured.
    """
    found: list[str] = []
    for _, seed in group.group(("seed",)).items():
        if not len(seed.where(figure="score")):
            continue
        if seed.where(figure="positive").column("note") == ["no power"]:
            found.append("no power")
        elif not _beats(seed):
            found.append("resists")
        else:
            found.append("opened" if opened(seed) >= _HALF else "leaks")
    return next((word for word in _WORST_FIRST if word in found), "")


def opened(group: StudyTable) -> float:
    """Where the score lies between the null (0) and unobfuscated pictures (1), a mean over seeds."""
    score, low, high = (group.where(figure=name).mean("value").mean for name in ("score", "negative", "positive"))
    return (score - low) / (high - low) if high > low else math.nan


def curve_table(rows: StudyTable) -> str:
    """SSIM with 1, 2, 5 and 10 known pairs under the targets' key."""
    names = [f"ssim_with_{count}_pairs" for count in (1, 2, 5, 10)]
    lines: list[Sequence[str]] = [("data", "setting", "no pair", *(name.split("_")[2] for name in names), "null")]
    for data in data_of(rows):
        for setting in settings_of(rows.where(data=data)):
            mine = rows.where(data=data, setting=setting, measure="known-pairs")
            if len(mine):
                none = rows.where(data=data, setting=setting, measure="key-reuse")
                told = [_number(none, "score"), *(_number(mine, name) for name in names), _number(mine, "negative")]
                lines.append((data, _title(setting), *told))
    return markdown(lines)


def entropy_table(rows: StudyTable) -> str:
    """Bits a pixel that the attacker lacks: before, after each attack that estimates a map, and H(X|Y) of the map."""
    attacks = [name for name in ATTACKS[:5] if len(rows.where(measure=name, figure="bits_after"))]
    lines: list[Sequence[str]] = [("data", "setting", "before", *attacks, "lost by the map")]
    for data in data_of(rows):
        for setting in settings_of(rows.where(data=data)):
            mine = rows.where(data=data, setting=setting)
            if SETTINGS.get(setting) and len(mine.where(figure="bits_after")):
                after = [_number(mine.where(measure=name), "bits_after", 2) for name in attacks]
                one = mine.where(measure=next(name for name in attacks if len(mine.where(measure=name))))
                ends = _number(one, "bits_before", 2), _number(one, "bits_lost_by_the_map", 2)
                lines.append((data, _title(setting), ends[0], *after, ends[1]))
    return markdown(lines)


def figures_table(rows: StudyTable) -> str:
    """What stands in obfuscated pictures before any attack, and the law of the maps."""
    names = {
        "residual_bits": "H(X given Y), bits",
        "preimage_1": "levels alone in their target",
        "edges_kept": "edges kept",
        "histogram_distance": "histogram moved",
        "seen_ssim": "SSIM as seen",
        "seen_edge_ssim": "edge SSIM as seen",
        "null_ssim": "SSIM of the mean image",
        "encoder_ssim": "SSIM of the encoder",
        "encoder_bits_per_dimension": "bits a number of the encoder",
    }
    lines: list[Sequence[str]] = [("data", "setting", *names.values())]
    for data in data_of(rows):
        for setting in settings_of(rows.where(data=data)):
            mine = rows.where(data=data, setting=setting, measure="figures")
            if len(mine):
                lines.append((data, _title(setting), *(_number(mine, name, 2) for name in names)))
    return markdown(lines)


def vessel_table(rows: StudyTable) -> str:
    """Dice of vessels of the angiography run, in each reconstruction and in the obfuscated pictures themselves."""
    mine = rows.where(data="angiography")
    attacks = [name for name in ATTACKS if name not in WITHOUT_PICTURES]
    lines: list[Sequence[str]] = [("setting", "as seen", *attacks, "mean image")]
    for setting in settings_of(mine):
        one = mine.where(setting=setting)
        cells = [_number(one.where(measure=name), "vessel_dice_reconstruction", 2) for name in attacks]
        nulls = one.where(figure="vessel_dice_null").column("value")
        seen = _number(one.where(measure="figures"), "vessel_dice_obfuscated", 2)
        lines.append((_title(setting), seen, *cells, f"{float(nulls[0]):.2f}" if nulls else ""))
    return markdown(lines)


def time_table(rows: StudyTable) -> str:
    """Processor time of an epoch on obfuscated pictures against raw ones, and pictures obfuscated a second."""
    lines: list[Sequence[str]] = [("data", "setting", "epoch, obfuscated / raw", "raw epoch, s", "images/s, one core")]
    for data in data_of(rows):
        for setting in settings_of(rows.where(data=data)):
            mine = rows.where(data=data, setting=setting, measure="time")
            if len(mine):
                ratio = mine.where(figure="epoch_ratio")
                width = (
                    f"{ratio.mean('value').mean:.3f} ({ratio.mean('low').mean:.3f} to {ratio.mean('high').mean:.3f})"
                )
                rate = f"{mine.where(figure='images_a_second').mean('value').mean:,.0f}"
                lines.append((data, _title(setting), width, _number(mine, "epoch_seconds_raw", 2), rate))
    return markdown(lines)


def protocol_table(rows: StudyTable) -> str:
    """Protocols of the attacks, as they were run, with what the attacker knows."""
    lines: list[Sequence[str]] = [("attack", "protocol")]
    for attack in ATTACKS:
        notes = dict.fromkeys(rows.where(measure=attack, figure="score").column("note"))
        lines += [(f"`{attack}`", next(iter(notes)))] if notes else []
    return markdown(lines)


TABLES: dict[str, Callable[[StudyTable], str]] = {
    "curve": curve_table,
    "entropy": entropy_table,
    "figures": figures_table,
    "protocols": protocol_table,
    "resists": resists_table,
    "time": time_table,
    "vessels": vessel_table,
}
"""Over all data sets, by name."""

TABLES_OF_ONE: dict[str, Callable[[StudyTable, str], str]] = {
    "utility": utility_table,
    "attacks": attack_table,
    "verdicts": verdict_table,
}
"""Of one data set, by name."""


def _of(rows: StudyTable, data: str) -> StudyTable:
    """The rows of a data set; none where those of the study's own are not there yet."""
    known = dict.fromkeys((*_DATA, *rows.column("data")))
    if data not in known:
        raise ValueError(f"data must be one of {', '.join(known)}, got {data!r}")
    return rows.where(data=data)


def _title(setting: str) -> str:
    return "raw" if setting == RAW else SETTINGS[setting].title


def _utility(group: StudyTable) -> str:
    for metric in ("auc", "accuracy"):
        mine = group.where(figure=metric)
        if len(mine):
            found = mine.mean("value")
            if math.isnan(found.half_width):
                return f"{found.mean:.3f} ({mine.mean('low').mean:.3f} to {mine.mean('high').mean:.3f})"
            return f"{found.mean:.3f} ± {found.half_width:.3f}"
    return ""


def _attack(group: StudyTable) -> str:
    text = _number(group, "score")
    return f"**{text}**" if text and verdict(group) in ("leaks", "opened") else text


def _null(group: StudyTable) -> str:
    values = [float(text) for text in group.where(figure="negative").column("value")]
    return f"{sum(values) / len(values):.3f}" if values else ""


def _beats(seed: StudyTable) -> bool:
    gains = [seed.where(figure=name) for name in _GAINS]
    if any(len(gain) for gain in gains):
        return any(float(text) > 0 for gain in gains for text in gain.column("low"))
    # A learner that always says the same has a score without any spread: chance exactly, and no leak.
    floors = [*seed.where(figure="negative").column("high"), *seed.where(figure="chance").column("value")]
    return seed.where(figure="score").mean("low").mean > max(map(float, floors))


def _number(group: StudyTable, figure: str, digits: int = 3) -> str:
    mine = group.where(figure=figure)
    return f"{mine.mean('value').mean:.{digits}f}" if len(mine) else ""
