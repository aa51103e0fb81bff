"""The figures of a utility study as a Markdown table: one line a setting, one column an epsilon."""

from __future__ import annotations

import math

from veilray_studies.contract import NO_CLAIM
from veilray_studies.kinds.utility_scale import MAIN_LEARNERS, Scale, chosen, scale_of
from veilray_studies.markdown import markdown
from veilray_studies.table import Interval, StudyTable

__all__ = ["table"]

_NAMES = {"auc": "Area under the ROC curve", "accuracy": "Accuracy"}


def table(rows: StudyTable, dataset: str, space: str) -> str:
    """Mean over seeds and half the 95 % t-interval of every mechanism and epsilon, beside raw and null.

    The number in brackets is k, how many numbers were kept. A star stands where the interval of a score does not clear
    the null's, so that the private images added nothing that shows.

    Raises:
        ValueError: where the table has no row of this data set and space.
    """
    rows = chosen(rows)
    scale = scale_of(rows, dataset, space)
    mine = rows.where(dataset=dataset, space=space)
    epsilons = sorted({text for text in mine.column("epsilon") if text != NO_CLAIM}, key=float)
    head = ["kept code", "mechanism", "learner", "no claim", *(f"epsilon {text}" for text in epsilons)]
    lines = [head]
    for (code, mechanism, learner), group in mine.group(("code", "mechanism", "learner")).items():
        cells = {epsilon: _cell(each, mechanism, scale) for (epsilon,), each in group.group(("epsilon",)).items()}
        shown = f"`{code}`" if any(group.column("kept")) else ""
        lines.append([shown, mechanism, learner, *(cells.get(text, "") for text in (NO_CLAIM, *epsilons))])
    return f"{_opening(mine, scale, space)}\n\n{markdown(lines)}"


def _cell(group: StudyTable, mechanism: str, scale: Scale) -> str:
    found = group.mean("value")
    text = f"{found.mean:.3f}"
    if not math.isnan(found.half_width):
        text += f" ± {found.half_width:.3f}"
    kept = sorted({int(k) for k in group.column("kept") if k})
    if kept:
        text += f" ({', '.join(map(str, kept))})"
    return text if mechanism in ("raw", "null") or _clears(found, scale) else f"{text} *"


def _clears(found: Interval, scale: Scale) -> bool:
    """Above null and chance by more than the intervals; True where an end or an interval is missing to say."""
    if scale.null is None or math.isnan(found.half_width) or math.isnan(scale.null.half_width):
        return True
    return found.low > max(scale.null.high, scale.chance or 0.0)


def _opening(mine: StudyTable, scale: Scale, space: str) -> str:
    counts = {len(group) for group in mine.group(("code", "mechanism", "learner", "epsilon")).values()}
    seeds = str(max(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    chance = "" if scale.chance is None else f" Chance is {scale.chance:g}."
    approximate = (
        " `gaussian` is (epsilon, 1e-6), the others are pure." if "gaussian" in mine.column("mechanism") else ""
    )
    return (
        f"{_NAMES.get(scale.metric, scale.metric)} on real test images: mean over {seeds} "
        f"seed{'s' * (counts != {1})} ± half of the 95 % t-interval over seeds, with the same test images; "
        f"in brackets k, the numbers kept.{chance}{approximate} "
        f"A star: the interval does not clear that of the null ({MAIN_LEARNERS[space]}), "
        "so the private images added nothing that shows."
    )
