"""A released table in the hands of whoever received it: rows, schema and claim, every file checked against its hash.

Example, three lines for a stranger:

    import veilray
    release = veilray.open_release("release")
    frame = release.to_pandas()
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from veilray.privacy import Guarantee
from veilray.releases.model import ModelCard
from veilray.releases.reader import checked_files, read_release
from veilray.releases.tables import DATA, SCHEMA
from veilray.tables import Records, Schema, read_records

__all__ = ["OpenedTable", "is_table", "open_table"]


class OpenedTable:
    """What a released table holds.

    Attributes:
        folder: where it lies.
        guarantee: what is claimed.
        model: the card of the model that made it.
        schema: what the columns mean.
        records: the rows as numbers; see `veilray.tables.Records`.
    """

    def __init__(self, folder: Path, guarantee: Guarantee, model: ModelCard, records: Records) -> None:
        self.folder, self.guarantee, self.model, self.records = folder, guarantee, model, records
        self.schema: Schema = records.schema

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"OpenedTable({len(self):,} rows of {len(self.schema.columns)} columns in {self.folder})"

    def to_pandas(self) -> Any:
        """The rows as a pandas data frame, categories with the schema's levels."""
        return self.records.to_pandas()

    def to_arrow(self) -> Any:
        """The rows as an Arrow table."""
        return self.records.to_arrow()


def is_table(folder: Path) -> bool:
    """Whether a RELEASE holds a table. Raises ValueError for a folder that is no release."""
    return "table" in read_release(folder)


def open_table(folder: Path, verify: bool = True) -> OpenedTable:
    """Read a RELEASE of a table.

    Raises:
        ValueError: for a folder that is no release of a table; a listed file that is missing, altered or outside the
            folder; rows that their own schema refuses, or another number of them than is claimed.
    """
    told = read_release(folder)
    if "table" not in told:
        raise ValueError(f"RELEASE must hold a table, got pictures in {folder}")
    files = checked_files(told, folder, verify=verify)
    if absent := sorted({DATA, SCHEMA} - files.keys()):
        raise ValueError(f"{folder} must list {absent[0]} in release.json, got none: ask for a fresh copy")
    schema = Schema.from_yaml(folder / SCHEMA)
    records, refused = read_records(folder / DATA, schema)
    releases = told["guarantee"].releases
    if refused or (releases is not None and releases.images != len(records)):
        raise ValueError(f"{folder / DATA} must hold the rows that release.json claims, got others: ask for a copy")
    return OpenedTable(folder, told["guarantee"], told["model"], records)
