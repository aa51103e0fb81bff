"""From TOML to cells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from veilray_studies import Config, select


def test_lists_are_crossed_and_grids_follow_each_other(write, tiny) -> None:
    crossed = 'mechanism = ["laplace"]\nepsilon = ["1", "2"]\nseed = [0, 1]'
    alone = 'mechanism = "codebook"\nepsilon = "4"\nseed = 0'
    cells = Config.read(write(f"{crossed}\n---\n{alone}")).cells(tiny)
    keys = [cell.key for cell in cells]
    laplace = [("laplace", e, s, "") for e in "12" for s in "01"]
    assert keys == [*laplace, ("codebook", "4", "0", "")]
    assert cells[0].parameters == {"mechanism": "laplace", "epsilon": "1", "seed": 0}


def test_settings_reach_the_cell_and_not_its_key(write, tiny) -> None:
    (cell,) = Config.read(write('epsilon = "1"\nseed = 3', fixed='mechanism = "laplace"\nfolder = "x"')).cells(tiny)
    assert cell.parameters["folder"] == "x"
    assert cell.key == ("laplace", "1", "3", "")


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"top": {"colour": '"red"'}}, "colour: Extra inputs"),
        ({"limits": "hours = 1"}, "limits.hours: Extra inputs"),
        ({"limits": "core_hours = 0"}, "limits.core_hours: Input should be greater than 0"),
        ({"top": {"out": '"table.txt"'}}, "out must be a .csv file"),
        ({"grid": "seed = []"}, "grid.0.seed: must be one or more values, got none"),
        ({"grid": "seed = [1979-05-27]"}, "must be text, a number, true or false"),
        ({"grid": "seed = [[1]]"}, "must be text, a number, true or false"),
        ({"grid": r'seed = "a\nb"'}, "must be one line of text"),
        (
            {"grid": "seed = 1\nsede = 2"},
            "must be one of mechanism, epsilon, seed, fault, folder, got 'sede'",
        ),
        ({"grid": "seed = 1"}, "parameter mechanism must be given"),
        ({"fixed": "seed = 1"}, "seed in both"),
        ({"grid": 'mechanism = "laplace"\nepsilon = ["1", 1]\nseed = 0'}, "cells must differ"),
    ],
)
def test_a_wrong_configuration_is_told(write, tiny, tables, told) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        Config.read(write(**tables)).cells(tiny)


def test_no_grid_no_toml_no_file(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    for text, told in (
        ('name = "x"\nkind = "tiny"\nout = "x.csv"', "grid: Field required"),
        ('name = "x"\nkind = "tiny"\nout = "x.csv"\ngrid = []', "grid: List should have at least 1 item"),
        ("name = ", "must be a TOML file"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=told):
            Config.read(path)
    with pytest.raises(ValueError, match="no such file"):
        Config.read(tmp_path / "nothing.toml")


def test_cells_are_chosen_by_name_and_value(write, tiny) -> None:
    path = write('mechanism = ["laplace", "a, b"]\nepsilon = ["1", "2"]\nseed = [0, 1, 2]')
    cells = Config.read(path).cells(tiny)

    def chosen(*patterns: str) -> list[tuple[str, ...]]:
        return [cell.key[:3] for cell in select(cells, patterns)]

    assert select(cells, ()) == cells
    assert chosen("epsilon=2", "seed=0,2", "mechanism=a, b") == [("a, b", "2", "0"), ("a, b", "2", "2")]
    assert len(chosen("seed=0", "seed=1")) == 8
    for pattern, told in (("seed", "NAME=VALUE"), ("colour=1", "NAME=VALUE"), ("seed=0,7", "must be of 0, 1, 2")):
        with pytest.raises(ValueError, match=told):
            select(cells, (pattern,))


def test_patterns_that_fit_no_cell_together_are_told(write, tiny) -> None:
    grids = 'mechanism = "laplace"\nepsilon = "1"\nseed = 0\n---\nmechanism = "codebook"\nepsilon = "2"\nseed = 0'
    with pytest.raises(ValueError, match="must leave a cell"):
        select(Config.read(write(grids)).cells(tiny), ("mechanism=laplace", "epsilon=2"))
