"""`veilray-study` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

CONFIG = """
name = "tiny"
kind = "tiny"
out = "tiny.csv"
[fixed]
mechanism = "laplace"
epsilon = "1"
[[grid]]
seed = [0, 1]
fault = ["", "raise"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(CONFIG)
    return path


def test_a_dry_run_states_the_plan_and_writes_nothing(veilray_study: Run, config: Path) -> None:
    ran = veilray_study(config, "--dry-run", "--cells", "fault=", "--jobs", 2)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("2 cells, 0 done, 2 left: 0.00 core-hours stated")
    told = json.loads(veilray_study(config, "--dry-run", "--json").out)
    assert (told["cells"], told["left"], told["core_hours_total"]) == (4, 4, round(4 / 3600, 4))
    assert list(config.parent.iterdir()) == [config]


def test_a_dry_run_says_what_is_missing(veilray_study: Run, config: Path) -> None:
    config.write_text(CONFIG.replace('"raise"', '"absent"'))
    ran = veilray_study(config, "--dry-run")
    assert ran.code == 1
    assert "missing: a source must be there, got none: make one" in ran.out
    assert len(json.loads(veilray_study(config, "--dry-run", "--json").out)["missing"]) == 1
    assert veilray_study(config).code == 2
    assert list(config.parent.iterdir()) == [config]


def test_run_resume_and_plot(veilray_study: Run, config: Path) -> None:
    ran = veilray_study(config, "--cells", "seed=0", "--cells", "fault=")
    assert ran.code == 0, ran.err
    assert "1 cell, 0 done, 1 left" in ran.err
    assert "1 cell finished, 2 rows appended" in ran.out

    refused = veilray_study(config)
    assert refused.code == 2
    assert "continue with --resume" in refused.err

    resumed = veilray_study(config, "--resume", "--cells", "seed=0", "--json")
    assert resumed.code == 1  # the cell that raises
    told = json.loads(resumed.out)
    assert (told["done"], told["left"], told["finished"], told["rows"]) == (1, 1, 0, 0)
    assert told["failed"][0]["cell"]["fault"] == "raise"

    plotted = veilray_study(config, "--plot", "--json")
    assert plotted.code == 0, plotted.err
    assert json.loads(plotted.out)["figures"] == [str(config.parent / "tiny.txt")]
    assert veilray_study(config, "--plot").out == str(config.parent / "tiny.txt")


def test_failed_cells_are_named_with_their_cure(veilray_study: Run, config: Path) -> None:
    ran = veilray_study(config, "--cells", "fault=raise", "--cells", "seed=1")
    assert ran.code == 1
    assert "failed: mechanism=laplace epsilon=1 seed=1 fault=raise: ArithmeticError: no such number" in ran.out
    assert "--resume tries them again" in ran.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--plot", "--dry-run"), "--plot must stand without"),
        (("--plot",), "must hold finished cells"),
        (("--cells", "sede=1"), "--cells must be NAME=VALUE"),
        (("--jobs", "0"), "--jobs must be 1 or more"),
    ],
)
def test_wrong_use_is_exit_code_2(veilray_study: Run, config: Path, arguments: tuple[str, ...], told: str) -> None:
    ran = veilray_study(config, *arguments)
    assert ran.code == 2
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_above_the_core_hours_is_exit_code_2(veilray_study: Run, config: Path) -> None:
    config.write_text(CONFIG + "[limits]\ncore_hours = 0.0001\n")
    ran = veilray_study(config, "--dry-run")
    assert ran.code == 2
    assert "cut the grid, or raise core_hours under [limits]" in ran.err


@pytest.mark.parametrize("value", ["0", "-1", "1e308", "nan", "inf", "x", "1.5"])
def test_a_number_of_jobs_that_is_none_is_refused_in_one_sentence(veilray_study: Run, config: Path, value: str) -> None:
    ran = veilray_study(config, f"--jobs={value}")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran.err
    assert ran.err.startswith("veilray-study: ")
    assert "jobs" in ran.err
    assert list(config.parent.iterdir()) == [config]


def test_a_hostile_name_is_shown_on_one_line_and_not_obeyed(veilray_study: Run, tmp_path: Path) -> None:
    ran = veilray_study(tmp_path / "no\nsuch\x1b[2J")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran.err
    assert "\\x1b[2J" in ran.err
    assert "\x1b" not in ran.err
