"""The contract of a study kind: which cells there are, what one costs, how it is run, how the table is drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from veilray.registry import Registry

if TYPE_CHECKING:
    from veilray_studies.table import StudyTable

__all__ = ["BOOKKEEPING", "NO_CLAIM", "STUDIES", "Parameters", "Scalar", "Study"]

Scalar: TypeAlias = str | bool | int | float
Parameters: TypeAlias = Mapping[str, Scalar]

NO_CLAIM = "none"
"""Stands as epsilon, or as policy, where nothing is drawn and so nothing is claimed."""

BOOKKEEPING = ("core_seconds", "software", "cell_rows")
"""Columns that the runner adds: processor time of the cell, version, and how many rows the cell has. All three stand
on every row of a cell, so processor time is added up over cells, not over rows."""


class Study(ABC):
    """A kind of study. An instance is pickled into a fresh process for each cell: keep it without state.

    A kind's module is imported by the command and by every cell's process: import torch inside `run`. It has one line
    in the package's `__init__`, so that the registry always knows it.

    Attributes:
        key_columns: the parameters that identify a cell, in the order of the CSV.
        result_columns: what a row says beside the key, in the order of the CSV.
        optional_columns: those of the key that a cell may leave out; they are empty in the CSV.
        settings: parameters that say where things are and not what is measured; they are not in the CSV.
    """

    key_columns: tuple[str, ...]
    result_columns: tuple[str, ...]
    optional_columns: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @abstractmethod
    def estimate_seconds(self, cell: Parameters) -> float:
        """Processor seconds that the cell is stated to take. Raises ValueError for a cell that cannot be run."""

    def check(self, cell: Parameters, base: Path) -> None:  # noqa: B027 - a kind that reads nothing has nothing to do
        """Look whether what the cell reads is there, without reading it.

        Raises:
            ValueError: that says what is missing and how to get it.
        """

    @abstractmethod
    def run(self, cell: Parameters, base: Path) -> Sequence[Mapping[str, Any]]:
        """Measure one cell, alone in a process with one thread.

        Args:
            cell: the parameters as the configuration gives them.
            base: the folder of the configuration; relative paths among the parameters start there.

        Returns:
            One or more rows, each with exactly `result_columns`; None is written as an empty field.
        """

    @abstractmethod
    def plot(self, rows: StudyTable, folder: Path) -> list[Path]:
        """Draw the finished cells into `folder`, from the table alone. Returns the files written."""

    def table(self, rows: StudyTable, name: str) -> str:
        """One table of the docs as Markdown, from the finished cells alone.

        Args:
            rows: of the whole study.
            name: what stands after the study's name in `<!-- study STUDY NAME -->` on a page.

        Raises:
            ValueError: for an unknown name, or one that has no rows.
        """
        raise ValueError(f"a table must be one that the study draws, got {name!r}: {type(self).__name__} draws none")

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of the CSV. Raises ValueError where a name stands twice."""
        names = (*self.key_columns, *self.result_columns, *BOOKKEEPING)
        twice = sorted({name for name in (*names, *self.settings) if (*names, *self.settings).count(name) > 1})
        if twice:
            raise ValueError(f"columns of a study must differ, got {', '.join(twice)} twice")
        return names


STUDIES: Registry[Study] = Registry("study kind")
"""Study kinds by name; entries are instances."""
