"""From a TOML file to cells: parameters that are fixed, parameters that are crossed, and a choice among the cells."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from veilray_studies.contract import Parameters, Scalar, Study
from veilray_studies.table import text_of

__all__ = ["Cell", "Config", "Limits", "select"]


@dataclass(frozen=True)
class Cell:
    """One independent measurement: its parameters, and the texts of its key columns as they stand in the CSV."""

    parameters: Parameters
    key: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(f"{name}={text_of(value)}" for name, value in self.parameters.items())


class Limits(BaseModel):
    """What a study may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    core_hours: float = Field(default=6, gt=0, allow_inf_nan=False)
    cell_minutes: float = Field(default=10, gt=0, allow_inf_nan=False)


def _values(value: Any) -> Any:
    if value == []:
        raise ValueError("must be one or more values, got none")
    return value if isinstance(value, list) else [value]


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"must be text, a number, true or false, got {value!r}")
    text_of(value)
    return value


_Scalar = Annotated[Any, BeforeValidator(_scalar)]
_Values = Annotated[list[_Scalar], BeforeValidator(_values)]


class Config(BaseModel):
    """A study as its TOML file describes it. A grid's lists are crossed; the cells of several grids follow in turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    kind: str
    out: Path
    figures: Path | None = None
    limits: Limits = Limits()
    fixed: dict[str, _Scalar] = Field(default_factory=dict)
    grid: list[dict[str, _Values]] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> Config:
        """Read a configuration; `out` and `figures` (by default the folder of `out`) are made relative to its folder.

        Raises:
            ValueError: for a missing file, a file that is not TOML, or one that does not describe a study.
        """
        try:
            told = tomllib.loads(path.read_text("utf-8"))
        except (FileNotFoundError, IsADirectoryError):
            raise ValueError(f"CONFIG must be a TOML file, got {path}: no such file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"CONFIG must be a TOML file, got {path}: {error}") from None
        try:
            config = cls.model_validate(told)
        except ValidationError as error:
            raise ValueError(f"CONFIG must describe a study, got {path}: {_told(error)}") from None
        if config.out.suffix != ".csv":
            raise ValueError(f"out must be a .csv file, got {config.out}")
        out = path.parent / config.out
        figures = out.parent if config.figures is None else path.parent / config.figures
        return config.model_copy(update={"out": out, "figures": figures})

    def cells(self, study: Study) -> tuple[Cell, ...]:
        """Every cell, in the order of the file with the last name of a grid running fastest.

        Raises:
            ValueError: for a parameter that the kind does not know, one that is missing or given twice, and for two
                equal cells.
        """
        cells = tuple(
            _cell({**self.fixed, **dict(zip(grid, values, strict=True))}, study)
            for grid in self.grid
            if _disjoint(self.fixed, grid)
            for values in product(*grid.values())
        )
        seen: set[tuple[str, ...]] = set()
        for cell in cells:
            if cell.key in seen:
                raise ValueError(f"cells must differ, got {cell} twice")
            seen.add(cell.key)
        return cells


def _disjoint(fixed: dict[str, Scalar], grid: dict[str, list[Scalar]]) -> bool:
    both = sorted(fixed.keys() & grid.keys())
    if both:
        raise ValueError(f"a parameter must stand in fixed or in grid, got {', '.join(both)} in both")
    return True


def _cell(parameters: dict[str, Scalar], study: Study) -> Cell:
    known = (*study.key_columns, *study.settings)
    for name in parameters:
        if name not in known:
            raise ValueError(f"parameter must be one of {', '.join(known)}, got {name!r}")
    for name in study.key_columns:
        if name not in parameters and name not in study.optional_columns:
            raise ValueError(f"parameter {name} must be given, got a cell with {', '.join(parameters) or 'none'}")
    return Cell(parameters, tuple(text_of(parameters.get(name)) for name in study.key_columns))


def _told(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, entry['loc']))}: {entry['msg'].removeprefix('Value error, ')}" for entry in error.errors()
    )


def select(cells: Sequence[Cell], patterns: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that fit every pattern `name=value[,value]`; patterns of one name add up.

    Raises:
        ValueError: for a pattern of another form, and for a name or a value that no cell has.
    """
    wanted: dict[str, set[str]] = {}
    for pattern in patterns:
        name, equals, text = pattern.partition("=")
        values = {text_of(cell.parameters[name]) for cell in cells if name in cell.parameters}
        if not equals or not values:
            names = dict.fromkeys(name for cell in cells for name in cell.parameters)
            raise ValueError(f"--cells must be NAME=VALUE[,VALUE] with NAME of {', '.join(names)}, got {pattern!r}")
        chosen = [text] if text in values else text.split(",")
        for value in chosen:
            if value not in values:
                raise ValueError(f"--cells {name} must be of {', '.join(sorted(values))}, got {value!r}")
        wanted.setdefault(name, set()).update(chosen)
    chosen_cells = tuple(
        cell
        for cell in cells
        if all(name in cell.parameters and text_of(cell.parameters[name]) in wanted[name] for name in wanted)
    )
    if not chosen_cells:
        raise ValueError(f"--cells must leave a cell, got none for {' '.join(patterns)}")
    return chosen_cells
