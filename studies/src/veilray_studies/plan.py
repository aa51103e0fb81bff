"""What a study will cost, stated before it starts: cells, core-hours, wall time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veilray_studies.cells import Cell, Limits
from veilray_studies.contract import Study
from veilray_studies.storage import Finished

__all__ = ["Plan", "plan_of"]

_HOUR = 3600


@dataclass(frozen=True)
class Plan:
    """Cells of a study and their stated cost. `done` and `left` are the chosen cells, in the order of the file.

    `seconds` are the processor seconds stated for each cell that is left, `spent_seconds` what the finished cells of
    the study took, `total_seconds` what the whole study takes: chosen or not, finished or not. `missing` says what the
    cells that are left would read and do not find.
    """

    done: tuple[Cell, ...]
    left: tuple[Cell, ...]
    seconds: tuple[float, ...]
    spent_seconds: float
    total_seconds: float
    jobs: int
    out: Path
    missing: tuple[str, ...] = ()

    @property
    def left_hours(self) -> float:
        """Core-hours stated for the cells that are left."""
        return sum(self.seconds) / _HOUR

    @property
    def total_hours(self) -> float:
        """Core-hours of the whole study."""
        return self.total_seconds / _HOUR

    @property
    def wall_hours(self) -> float:
        """Hours until the last cell ends: at least the longest cell, at best all jobs busy all the time."""
        return max(max(self.seconds, default=0.0), sum(self.seconds) / self.jobs) / _HOUR


def plan_of(
    study: Study,
    cells: Sequence[Cell],
    chosen: Sequence[Cell],
    finished: Finished,
    limits: Limits,
    jobs: int,
    out: Path,
    base: Path,
) -> Plan:
    """State the cost. Finished cells count with their measured time, and scale the kind's estimate of the others.

    What cells read is looked for from the folder `base`.

    Raises:
        ValueError: where the study is stated above its core-hours, or a cell above its minutes.
    """
    if jobs < 1:
        raise ValueError(f"--jobs must be 1 or more, got {jobs}")
    stated = {cell.key: _stated(study, cell, limits) for cell in cells}
    measured = {key: finished[key] for key in stated if key in finished}
    expected = sum(stated[key] for key in measured)
    ratio = sum(measured.values()) / expected if measured else 1.0
    cost = {key: measured.get(key, ratio * seconds) for key, seconds in stated.items()}
    left = tuple(cell for cell in chosen if cell.key not in finished)
    plan = Plan(
        done=tuple(cell for cell in chosen if cell.key in finished),
        left=left,
        seconds=tuple(cost[cell.key] for cell in left),
        spent_seconds=sum(measured.values()),
        total_seconds=sum(cost.values()),
        jobs=jobs,
        out=out,
        missing=tuple(dict.fromkeys(told for cell in left if (told := _missing(study, cell, base)))),
    )
    if left and plan.total_hours > limits.core_hours:
        raise ValueError(
            f"a study must take at most {limits.core_hours:g} core-hours, got {plan.total_hours:.2f} stated for "
            f"{len(cells):,} cells: cut the grid, or raise core_hours under [limits]"
        )
    return plan


def _missing(study: Study, cell: Cell, base: Path) -> str:
    try:
        study.check(cell.parameters, base)
    except ValueError as error:
        return str(error)
    return ""


def _stated(study: Study, cell: Cell, limits: Limits) -> float:
    seconds = float(study.estimate_seconds(cell.parameters))
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(f"estimate_seconds must be above 0, got {seconds} for {cell}")
    if seconds > 60 * limits.cell_minutes:
        raise ValueError(
            f"a cell must take at most {limits.cell_minutes:g} minutes, got {seconds / 60:.1f} stated for {cell}"
        )
    return seconds
