"""Delimited files as batches of text columns: Arrow's reader behind the file's dialect, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from veilray.tables.extra import needed
from veilray.text.delimited import DelimitedText
from veilray.text.dialect import PLAIN, Dialect

__all__ = ["Delimited"]

# A row must fit into a block. The first size is small for memory; the last is the most that Arrow takes.
_BLOCKS = (2**21, 2**25, 2**29, 2**31 - 1)


class Delimited:
    """An open file of delimited text.

    Attributes:
        names: the columns that have a name, in normal form.
        text: what header, delimiter and encoding are.
        ragged: row and number of cells of the rows that do not have one cell a name; known after `batches`.

    Raises:
        ValueError: as `DelimitedText`.
        ImportError: without the extra `tables`.
    """

    def __init__(self, path: Path, dialect: Dialect = PLAIN) -> None:
        self._csv = needed("pyarrow.csv")
        self._arrow = needed("pyarrow")
        self.text = DelimitedText(path, dialect)
        self.names = self.text.names
        self.width = self.text.width
        self.unreadable: dict[str, str] = {}
        self.typed: frozenset[str] | None = frozenset()
        self.ragged: list[tuple[int, int]] = []
        self.done, self.total = 0, path.stat().st_size

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Read the rows in order.

        Args:
            names: the columns to read.

        Yields:
            `pyarrow.RecordBatch` of texts, the columns in the order of `names`, without the ragged rows.
        """
        places = [str(self.text.header.index(name)) for name in names]
        given = 0
        for block in _BLOCKS:
            self.ragged.clear()
            seen = 0
            try:
                for batch in self._read(places, block):
                    seen += len(batch)
                    if seen > given:
                        yield batch.slice(max(0, given - (seen - len(batch)))).rename_columns(list(names))
                        given = seen
                return
            except self._arrow.ArrowInvalid as error:
                # Arrow's message may quote a cell: it is looked at and never passed on.
                if "Empty CSV" in str(error):
                    return
                if "straddling" not in str(error):
                    raise ValueError("table must be a CSV file, got one that cannot be parsed") from None
        raise ValueError("table must have rows of less than 2 GiB, got a longer one")

    def _read(self, places: Sequence[str], block: int) -> Iterator[Any]:
        columns = [str(place) for place in range(self.width)]
        surplus = columns[len(self.text.header) :]
        text = self._arrow.string()

        def on_ragged(row: Any) -> str:
            self.ragged.append((row.number, row.actual_columns))
            return "skip"

        with self.text.utf8() as file:
            # One thread: with more of them Arrow does not number the ragged rows.
            reader = self._csv.open_csv(
                file,
                self._csv.ReadOptions(use_threads=False, block_size=block, column_names=columns),
                self._csv.ParseOptions(
                    delimiter=self.text.delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=self.width > 1,
                    invalid_row_handler=on_ragged,
                ),
                self._csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, text),
                    include_columns=[*places, *surplus],
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                self.done = file.raw.tell()  # type: ignore[attr-defined]  # of the stream below the buffer
                if any(batch.column(name).unique().to_pylist() != [""] for name in surplus if len(batch)):
                    raise ValueError(
                        "table must have a name above every cell, got rows with more cells than the header has names"
                    )
                yield batch.select(list(places))
