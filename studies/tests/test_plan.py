"""Core-hours are stated, and refused above the limit, before anything runs."""

from __future__ import annotations

import pytest

from veilray_studies import plan_study, run_study
from veilray_studies.storage import open_for_append

TWO = [("correlation", "0.5", "1"), ("distortion", "2.0", "")]


def test_hours_add_up(write) -> None:
    plan = plan_study(write('mechanism = ["laplace"]\nepsilon = ["1", "4"]\nseed = [0, 1, 2]'), jobs=2)
    assert len(plan.left) == 6
    assert plan.left_hours == pytest.approx(3 * (1 + 4) / 3600)
    assert plan.total_hours == pytest.approx(plan.left_hours)
    assert plan.wall_hours == pytest.approx(plan.left_hours / 2)
    assert plan_study(write(), jobs=8).wall_hours == pytest.approx(1 / 3600)


def test_measured_times_refine_the_statement(write, tiny, tmp_path) -> None:
    path = write('mechanism = ["laplace"]\nepsilon = ["1", "4"]\nseed = [0, 1]')
    with open_for_append(tmp_path / "data" / "tiny.csv", tiny) as file:
        file.append(("laplace", "1", "0", ""), TWO, 2, "1")
        file.append(("codebook", "1", "0", ""), TWO, 9999, "1")  # of another configuration
    plan = plan_study(path, ("seed=0",))
    assert [cell.key[1] for cell in plan.done] == ["1"]
    assert plan.seconds == pytest.approx((8,))
    assert plan.spent_seconds == 2
    assert plan.total_hours == pytest.approx(2 * (2 + 8) / 3600)


def test_above_the_core_hours_is_refused_whatever_is_chosen(write) -> None:
    path = write('mechanism = "laplace"\nepsilon = "36"\nseed = [0, 1]', limits="core_hours = 0.019")
    with pytest.raises(ValueError, match=r"at most 0.019 core-hours, got 0.02 stated for 2 cells"):
        plan_study(path, ("seed=0",))


def test_a_cell_above_its_minutes_is_refused(write) -> None:
    with pytest.raises(ValueError, match=r"at most 0.01 minutes, got 0.0 stated for mechanism=laplace"):
        plan_study(write(limits="cell_minutes = 0.01"))


def test_a_cell_must_be_stated_to_cost_something(write) -> None:
    with pytest.raises(ValueError, match=r"must be above 0, got 0.0 for mechanism=laplace epsilon=0 seed=0"):
        plan_study(write('mechanism = "laplace"\nepsilon = "0"\nseed = 0'))


def test_what_the_cells_left_would_not_find_is_told_once(write, tiny, tmp_path) -> None:
    path = write('mechanism = "laplace"\nepsilon = "1"\nseed = [0, 1]\nfault = ["", "absent"]')
    assert plan_study(path).missing == ("a source must be there, got none: make one",)
    assert plan_study(path, ("fault=",)).missing == ()
    with open_for_append(tmp_path / "data" / "tiny.csv", tiny) as file:
        for seed in "01":
            file.append(("laplace", "1", seed, "absent"), TWO, 1, "1")
    assert plan_study(path).missing == ()  # what is measured is read no more


def test_nothing_starts_while_a_source_is_missing(write, tmp_path) -> None:
    path = write('mechanism = "laplace"\nepsilon = "1"\nseed = 0\nfault = ["", "absent"]')
    with pytest.raises(ValueError, match="a source must be there"):
        run_study(path)
    assert not (tmp_path / "data").exists()


def test_an_unknown_kind_and_no_jobs_are_told(write) -> None:
    with pytest.raises(ValueError, match=r"study kind must be one of .*tiny.*, got 'nothing'"):
        plan_study(write(top={"kind": '"nothing"'}))
    with pytest.raises(ValueError, match="--jobs must be 1 or more"):
        plan_study(write(), jobs=0)


def test_columns_must_differ(tiny) -> None:
    tiny.result_columns = ("seed", "core_seconds")
    with pytest.raises(ValueError, match="got core_seconds, seed twice"):
        tiny.columns  # noqa: B018
