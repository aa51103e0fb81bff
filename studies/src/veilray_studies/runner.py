"""Run the cells that are left, each in its own process, and keep every one that finishes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path

from veilray_studies.cells import Cell, Config, select
from veilray_studies.contract import STUDIES, Study
from veilray_studies.plan import Plan, plan_of
from veilray_studies.storage import Finished, StudyFile, finished_cells, open_for_append
from veilray_studies.table import StudyTable
from veilray_studies.worker import Ended, Worker

__all__ = ["Failure", "Outcome", "draw_study", "plan_study", "run_study"]

_SOFTWARE = version("veilray")

Progress = Callable[[int, int, str], None]
"""Called with (done, total, note)."""


@dataclass(frozen=True)
class Failure:
    """A cell that gave no rows, and why."""

    cell: Cell
    error: str


@dataclass(frozen=True)
class Outcome:
    """What a run did. `unstarted` counts the cells that the core-hours did not reach."""

    plan: Plan
    finished: int
    rows: int
    core_seconds: float
    failures: tuple[Failure, ...]
    unstarted: int
    failures_file: Path

    @property
    def complete(self) -> bool:
        """Whether every chosen cell stands in the CSV."""
        return not self.failures and not self.unstarted


def plan_study(path: Path, patterns: Sequence[str] = (), jobs: int = 1) -> Plan:
    """State what a study would take, and what is missing for it; runs and writes nothing.

    Raises:
        ValueError: for a configuration that is wrong or stated above its limits.
    """
    config, study = _open(path)
    return _plan(config, study, finished_cells(config.out, study)[1], patterns, jobs, path.parent)


def draw_study(path: Path, patterns: Sequence[str] = ()) -> list[Path]:
    """Draw the finished cells of a study into its folder of figures, from the CSV alone.

    Raises:
        ValueError: for a wrong configuration, and where no cell is finished.
    """
    config, study = _open(path)
    table, _ = finished_cells(config.out, study)
    keys = {cell.key for cell in select(config.cells(study), patterns)}
    groups = table.group(study.key_columns)
    rows = [tuple(row.values()) for key, group in groups.items() if key in keys for row in group]
    if not rows:
        raise ValueError(f"{config.out} must hold finished cells of this study, got none: run the study first")
    folder = config.figures or config.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    return study.plot(StudyTable(study.columns, rows), folder)


def run_study(
    path: Path,
    patterns: Sequence[str] = (),
    *,
    resume: bool = False,
    jobs: int = 1,
    on_plan: Callable[[Plan], None] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run the cells that are left and append the rows of each as it finishes.

    A cell that raises, dies or takes longer than its minutes is written down beside the CSV and the others go on. An
    interrupt ends the running cells and keeps the finished ones.

    Args:
        path: the TOML file.
        patterns: `name=value[,value]`, to choose among the cells.
        resume: skip finished cells; without it they are refused.
        jobs: cells at a time, one core each.
        on_plan: told what will be done, before the first cell starts.
        progress: for a progress bar.

    Raises:
        ValueError: for a configuration that is wrong or stated above its limits, for cells that are finished, and for
            cells that do not find what they read.
        Refused: while another process runs this study.
    """
    config, study = _open(path)
    missing = plan_study(path, patterns, jobs).missing  # what is wrong is told before a file is made
    if missing:
        raise ValueError("; ".join(missing))
    with open_for_append(config.out, study) as file:
        plan = _plan(config, study, file.finished, patterns, jobs, path.parent)
        if plan.done and not resume:
            raise ValueError(
                f"{config.out} must hold none of these cells, got {len(plan.done):,} of them finished: "
                "continue with --resume, or name another `out`"
            )
        if on_plan is not None:
            on_plan(plan)
        return _Run(config, study, path.parent, file, plan, progress or (lambda done, total, note: None)).all()


def _open(path: Path) -> tuple[Config, Study]:
    config = Config.read(path)
    return config, STUDIES[config.kind]


def _plan(config: Config, study: Study, finished: Finished, patterns: Sequence[str], jobs: int, base: Path) -> Plan:
    cells = config.cells(study)
    return plan_of(study, cells, select(cells, patterns), finished, config.limits, jobs, config.out, base)


class _Run:
    """The loop of one run: starts workers, waits for them, keeps what they give."""

    def __init__(
        self, config: Config, study: Study, base: Path, file: StudyFile, plan: Plan, progress: Progress
    ) -> None:
        self._study, self._base, self._file, self._plan, self._progress = study, base, file, plan, progress
        self._cell_seconds = 60 * config.limits.cell_minutes
        self._core_seconds = 3600 * config.limits.core_hours
        self._spent = plan.spent_seconds
        self._waiting = deque(plan.left)
        self._workers: list[Worker] = []
        self._failures: list[Failure] = []
        self._finished = self._rows = 0

    def all(self) -> Outcome:
        """Run every cell that is left, as far as the core-hours reach."""
        try:
            self._tell()
            while self._workers or (self._waiting and self._spent < self._core_seconds):
                while self._waiting and len(self._workers) < self._plan.jobs and self._spent < self._core_seconds:
                    self._workers.append(Worker(self._study, self._waiting.popleft(), self._base))
                    self._workers[-1].start()
                self._collect()
        finally:
            for worker in self._workers:
                worker.kill()
        return Outcome(
            plan=self._plan,
            finished=self._finished,
            rows=self._rows,
            core_seconds=self._spent - self._plan.spent_seconds,
            failures=tuple(self._failures),
            unstarted=len(self._waiting),
            failures_file=self._file.failures,
        )

    def _collect(self) -> None:
        """Wait for the next cell to end or to run out of time."""
        oldest = max(worker.seconds for worker in self._workers)
        ready = set(wait([each for w in self._workers for each in w.waitables], max(0.0, self._cell_seconds - oldest)))
        for worker in tuple(self._workers):
            if ready.intersection(worker.waitables):
                self._take(worker, worker.end())
            elif worker.seconds >= self._cell_seconds:
                worker.kill()
                self._take(worker, Ended(error=f"killed after {self._cell_seconds / 60:g} minutes"))

    def _take(self, worker: Worker, ended: Ended) -> None:
        self._workers.remove(worker)
        self._spent += ended.core_seconds or worker.seconds  # of a killed process only the wall time is known
        if ended.error:
            self._failures.append(Failure(worker.cell, ended.error))
            told = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "cell": dict(worker.cell.parameters),
                "error": ended.error,
                "wall_seconds": round(worker.seconds, 2),
                "software": _SOFTWARE,
                "trace": ended.trace,
            }
            self._file.append_failure(told)
        else:
            self._file.append(worker.cell.key, ended.rows, ended.core_seconds, _SOFTWARE)
            self._finished += 1
            self._rows += len(ended.rows)
        self._tell()

    def _tell(self) -> None:
        failed = len(self._failures)
        self._progress(self._finished + failed, len(self._plan.left), f"{failed} failed" if failed else "")
