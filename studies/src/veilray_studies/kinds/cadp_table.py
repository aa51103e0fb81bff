"""The figures of a CADP study as Markdown tables, and the verdict of each setting and epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence

from veilray.evaluation.controls import NOTHING_ADDED
from veilray_studies.contract import NO_CLAIM
from veilray_studies.markdown import markdown
from veilray_studies.table import Interval, StudyTable

__all__ = ["CODE", "PICTURES", "attack_table", "membership_table", "settings_of", "utility_table"]

PICTURES, CODE = "logistic", "code-logistic"
_ORDER = (
    "digits-labelled",
    "fashion-mnist-labelled",
    "pneumoniamnist-labelled",
    "chest-x-ray-labelled",
    "fashion-mnist-scarce",
    "chest-x-ray-scarce",
    "fashion-mnist-missing",
    "orl-faces",
)
_RELEASES = ("directional", "laplace", "gaussian", "codebook", "selection", "content-code")


def settings_of(rows: StudyTable) -> list[str]:
    """The settings that have rows: those of the study in its order, then others."""
    found = dict.fromkeys(rows.column("setting"))
    return [name for name in _ORDER if name in found] + [name for name in found if name not in _ORDER]


def utility_table(rows: StudyTable, setting: str) -> str:
    """Every release and control of a setting, one column an epsilon, with the verdict of each release.

    A release that beats the best floor, by more than its interval, has no star. The interval is the bootstrap over test
    patients (95 %), averaged over seeds; the floor is the best of null-conditional under the same policy, public-only
    with the same learner, and chance.

    Raises:
        ValueError: where the table has no row of this setting.
    """
    mine = rows.where(setting=setting)
    if not len(mine):
        raise ValueError(f"setting must be one of {', '.join(settings_of(rows))}, got {setting!r}")
    epsilons = sorted({text for text in mine.column("epsilon") if text != NO_CLAIM}, key=float)
    lines: list[Sequence[str]] = [
        ("release", "label", "learner", "no epsilon", *(f"epsilon {text}" for text in epsilons))
    ]
    for (release, policy, learner), group in mine.group(("release", "policy", "learner")).items():
        if release == "membership":
            continue
        cells = [_cell(group.where(epsilon=text), mine) for text in (NO_CLAIM, *epsilons)]
        lines.append((f"`{release}`", "" if policy == NO_CLAIM else policy, learner, *cells))
    return markdown(lines)


def attack_table(rows: StudyTable) -> str:
    """Linkage and verification of the directional release under a public label, beside their lines."""
    lines: list[Sequence[str]] = [("setting", "epsilon", "rank-1", "at most", "verification AUC", "at most", "verdict")]
    mine = rows.where(release="directional", policy="public", learner=PICTURES)
    for setting in settings_of(mine):
        for (epsilon,), group in mine.where(setting=setting).group(("epsilon",)).items():
            if any(group.column("rank_one")):
                figures = [
                    f"{group.mean(name).mean:.3f}"
                    for name in ("rank_one", "rank_one_line", "verification", "verification_line")
                ]
                verdict = ", ".join(dict.fromkeys("; ".join(group.column("attacks_verdict")).split("; ")))
                lines.append((setting, epsilon, *figures, verdict))
    return markdown(lines)


def membership_table(rows: StudyTable) -> str:
    """Membership inference on each flow: AUC and true positives, beside a flow that knows its images by heart."""
    lines: list[Sequence[str]] = [("setting", "score", "figure", "flow", "by heart")]
    mine = rows.where(release="membership")
    for setting in settings_of(mine):
        for (learner, metric), group in mine.where(setting=setting).group(("learner", "metric")).items():
            low, high = group.mean("low").mean, group.mean("high").mean
            figure = f"{group.mean('value').mean:.3f} ({low:.3f} to {high:.3f})"
            told = metric.removeprefix("membership ")
            lines.append((setting, learner, told, figure, f"{group.mean('control').mean:.3f}"))
    return markdown(lines)


def verdict(group: StudyTable, mine: StudyTable) -> str:
    """`""` where the release beats the best floor by more than its interval, else that nothing was added."""
    row = group[0]
    floors = [_chance(mine)]
    policy, learner = row["policy"], row["learner"]
    nulls = mine.where(release="null-conditional", policy=policy, learner=learner)
    if policy == "randomised":
        nulls = nulls.where(epsilon=row["epsilon"])
    floors += [nulls.mean("high").mean] if len(nulls) else []
    public = mine.where(release="public-only", learner=learner)
    floors += [public.mean("value").mean] if len(public) else []
    return "" if group.mean("low").mean > max(floors) else NOTHING_ADDED


def _cell(group: StudyTable, mine: StudyTable) -> str:
    if not len(group):
        return ""
    found = group.mean("value")
    text = _text(found)
    kept = [value for value in group.column("label_kept") if value and float(value) < 1]
    if kept:
        text += f" (p {float(kept[0]):.2f})"
    starred = group[0]["release"] in _RELEASES and verdict(group, mine)
    return f"{text} *" if starred else text


def _text(found: Interval) -> str:
    text = f"{found.mean:.3f}"
    return text if math.isnan(found.half_width) else f"{text} ± {found.half_width:.3f}"


def _chance(mine: StudyTable) -> float:
    return max(float(text) for text in mine.column("chance") if text)
