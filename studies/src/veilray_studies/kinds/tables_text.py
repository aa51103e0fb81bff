"""The figures of the study of tables as Markdown, and the verdict on each release."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from veilray_studies.contract import NO_CLAIM
from veilray_studies.kinds.tables_settings import CONTROLS, TABLES
from veilray_studies.markdown import markdown
from veilray_studies.table import Interval, StudyTable

__all__ = [
    "ADDED",
    "NOTHING_ADDED",
    "OVER_ALL",
    "UNKNOWN",
    "fidelity_table",
    "linkage_table",
    "risk_table",
    "target_table",
    "utility_table",
    "verdict",
]

ADDED = "beats every floor"
NOTHING_ADDED = "the private rows added nothing"
UNKNOWN = "a floor is not measured yet"

_TARGET = "4"
_SETTINGS = ("labelled", "scarce")
_ORDER: tuple[tuple[str, str], ...] = (
    ("raw", NO_CLAIM),
    ("null-conditional", "public"),
    ("public-only", NO_CLAIM),
    ("directional", "public"),
    ("directional", "randomised"),
    ("laplace", "public"),
    ("gaussian", "public"),
    ("codebook", "public"),
    ("k-rr-split", "public"),
    ("k-rr-filled", "public"),
    ("k-rr-sampled", "public"),
    ("central", NO_CLAIM),
)
_TARGETED = tuple(key for key in _ORDER if key[0] not in ("laplace", "gaussian", "codebook"))
_COMPARED = ("directional", "k-rr-split", "central")
_ONE = "linear"
"""Figures that belong to a release and to no learner stand beside each learner: they are read beside this one."""


def target_table(rows: StudyTable) -> str:
    """Every control and release at epsilon 4 on the labelled public half, beside raw and the floors."""
    lines: list[Sequence[str]] = [("table", "learner", "release", "condition", "figure", "raw less this", "verdict")]
    for table in TABLES:
        for learner in _learners(rows.where(table=table, setting="labelled")):
            mine = rows.where(table=table, setting="labelled", learner=learner)
            raw = mine.where(release="raw")
            for release, policy in _TARGETED:
                group = mine.where(release=release, policy=policy, epsilon=_epsilon_of(release))
                if len(group):
                    condition = _condition(policy, group)
                    lines.append(
                        (
                            table,
                            learner,
                            f"`{release}`",
                            condition,
                            _text(group.mean("value")),
                            "" if release == "raw" else _distance(raw, group),
                            "" if release in CONTROLS else verdict(group, mine),
                        )
                    )
    return markdown(lines)


def utility_table(rows: StudyTable, table: str, setting: str) -> str:
    """Every release and control of a table in a setting, one column an epsilon; a star where nothing was added.

    Raises:
        ValueError: where no row is of this table and setting.
    """
    mine = rows.where(table=table, setting=setting)
    if not len(mine):
        known = ", ".join(f"{a}-{b}" for a, b in rows.group(("table", "setting")))
        raise ValueError(f"table and setting must be one of {known}, got {table}-{setting}")
    epsilons = _epsilons(mine)
    lines: list[Sequence[str]] = [
        ("release", "condition", "learner", "no epsilon", *(f"epsilon {text}" for text in epsilons))
    ]
    for release, policy in _ORDER:
        for learner in _learners(mine):
            beside = mine.where(learner=learner)
            groups = [
                beside.where(release=release, policy=policy, epsilon=epsilon) for epsilon in (NO_CLAIM, *epsilons)
            ]
            if any(map(len, groups)):
                name = "" if policy == NO_CLAIM else policy
                lines.append((f"`{release}`", name, learner, *(_cell(group, beside) for group in groups)))
    return markdown(lines)


def fidelity_table(rows: StudyTable) -> str:
    """How much released rows look like the real test rows: sdmetrics' two figures at each epsilon."""
    epsilons = _epsilons(rows)
    lines: list[Sequence[str]] = [
        ("table", "public half", "release", "condition", "agreement of", *(f"epsilon {text}" for text in epsilons))
    ]
    for figure, name in (("column_shapes", "columns"), ("column_pair_trends", "pairs")):
        for table, setting, release, policy, mine in _compared(rows, figure):
            cells = [_mean(mine.where(epsilon=epsilon), figure) for epsilon in epsilons]
            lines.append((table, setting, f"`{release}`", "" if policy == NO_CLAIM else policy, name, *cells))
    return markdown(lines)


def risk_table(rows: StudyTable) -> str:
    """anonymeter's three risks at epsilon 4: the mean over seeds, and the mean of their upper ends."""
    risks = ("singling_out", "linkability", "inference")
    lines: list[Sequence[str]] = [
        ("table", "public half", "release", *(name.replace("_", " ") for name in risks)),
    ]
    for table, setting, release, _, mine in _compared(rows, risks[0]):
        attacked = mine.where(epsilon=_TARGET)
        cells = [f"{attacked.mean(name).mean:.3f} (to {attacked.mean(f'{name}_high').mean:.3f})" for name in risks]
        lines.append((table, setting, f"`{release}`", *cells))
    return markdown(lines)


def linkage_table(rows: StudyTable) -> str:
    """Naming the source of a released latent by its exact likelihood, beside the line that the claim allows."""
    epsilons = _epsilons(rows)
    lines: list[Sequence[str]] = [("table", "public half", "", *(f"epsilon {text}" for text in epsilons))]
    for table, setting, _, _, mine in _compared(rows, "rank_one"):
        for figure, name in (("rank_one", "named"), ("rank_one_line", "at most")):
            cells = [_mean(mine.where(epsilon=epsilon), figure) for epsilon in epsilons]
            lines.append((table, setting, name, *cells))
    return markdown(lines)


OVER_ALL: dict[str, Callable[[StudyTable], str]] = {
    "target": target_table,
    "fidelity": fidelity_table,
    "risks": risk_table,
    "linkage": linkage_table,
}
"""Tables over all data sets, by name."""


def verdict(group: StudyTable, mine: StudyTable) -> str:
    """Whether a release beats the best floor by more than its interval.

    Args:
        group: the release at one epsilon, a row a seed.
        mine: all rows of the same table, setting and learner.

    The interval is the wider one below: over seeds, or over test rows, averaged. Floors are chance, public-only, and
    null-conditional at the upper end of its interval. A central synthesiser covers the condition as well, so that
    null-conditional, which has it in clear, is none of its floors.
    """
    public, null = mine.where(release="public-only"), mine.where(release="null-conditional")
    covers_condition = group[0]["release"] == "central"
    if not len(public) or not (len(null) or covers_condition):
        return UNKNOWN
    floors = [max(group.numbers("chance")), public.mean("value").mean]
    floors += [] if covers_condition else [null.mean("high").mean]
    found = group.mean("value")
    low = min(group.mean("low").mean, found.low if found.count > 1 else math.inf)
    return ADDED if low > max(floors) else NOTHING_ADDED


def _compared(rows: StudyTable, figure: str) -> Iterable[tuple[str, str, str, str, StudyTable]]:
    """Table, setting, release, policy and rows of what has this figure."""
    for table in TABLES:
        for setting in _SETTINGS:
            for release, policy in _ORDER:
                mine = rows.where(table=table, setting=setting, release=release, policy=policy, learner=_ONE)
                mine = _holding(mine, figure)
                if release in _COMPARED and len(mine):
                    yield table, setting, release, policy, mine


def _holding(rows: StudyTable, figure: str) -> StudyTable:
    return StudyTable(rows.columns, [tuple(row.values()) for row in rows if row[figure]])


def _learners(rows: StudyTable) -> list[str]:
    return sorted(set(rows.column("learner")), reverse=True)


def _epsilons(rows: StudyTable) -> list[str]:
    return sorted({text for text in rows.column("epsilon") if text != NO_CLAIM}, key=float)


def _epsilon_of(release: str) -> str:
    return NO_CLAIM if release in CONTROLS else _TARGET


def _condition(policy: str, group: StudyTable) -> str:
    if policy == NO_CLAIM:
        return ""
    if policy != "randomised":
        return policy
    spent = sorted({f"{value:g}" for value in group.numbers("condition_epsilon")}, key=float)
    return f"randomised, epsilon {' or '.join(spent)} of it"


def _distance(raw: StudyTable, group: StudyTable) -> str:
    """The mean over seeds of raw less this on the same split."""
    by_seed = dict(zip(raw.column("seed"), raw.numbers("value"), strict=True))
    pairs = zip(group.column("seed"), group.numbers("value"), strict=True)
    apart = [by_seed[seed] - value for seed, value in pairs if seed in by_seed]
    return _text(Interval.of(apart)) if apart else ""


def _cell(group: StudyTable, beside: StudyTable) -> str:
    if not len(group):
        return ""
    star = group[0]["release"] not in CONTROLS and verdict(group, beside) == NOTHING_ADDED
    return _text(group.mean("value")) + (" *" if star else "")


def _mean(group: StudyTable, figure: str) -> str:
    return f"{group.mean(figure).mean:.3f}" if len(group) else ""


def _text(found: Interval) -> str:
    text = f"{found.mean:.3f}"
    return text if math.isnan(found.half_width) else f"{text} ± {found.half_width:.3f}"
