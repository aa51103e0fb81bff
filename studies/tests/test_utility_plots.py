"""The figures of the utility study, from a small made-up table in the runner's own CSV."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import utility_rows
from matplotlib.figure import Figure

from veilray_studies import STUDIES, Interval, StudyTable
from veilray_studies.kinds import utility_plots
from veilray_studies.kinds.utility_attacks import draw_attacks, draw_frontier, marks, pareto_front
from veilray_studies.kinds.utility_scale import bars, means, scale_of

WHOLE = {
    f"{name}-{dataset}.png"
    for name in ("utility", "utility-pictures", "utility-codes")
    for dataset in utility_rows.ENDS
} | {"frontier.png", "attacks.png", "utility-keeps.png"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> StudyTable:
    return utility_rows.written(tmp_path_factory.mktemp("study") / "utility.csv")


def only(table: StudyTable, keep: Any) -> StudyTable:
    return StudyTable(table.columns, [tuple(row.values()) for row in table if keep(row)])


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def drawn(table: StudyTable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures by file name, without spending time on pixels."""
    found: dict[str, Figure] = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: found.update({path.name: figure}))
    assert [path.name for path in utility_plots.draw(table, folder)] == list(found)
    return found


def test_the_study_writes_every_figure_as_a_png(table: StudyTable, tmp_path: Path) -> None:
    paths = STUDIES["utility"].plot(table, tmp_path)
    assert {path.name for path in paths} == WHOLE
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_figures_without_rows_are_left_out(table: StudyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = only(table, lambda row: row["mechanism"] == "laplace" and row["dataset"] == "chest-x-ray")
    assert set(drawn(claimed, tmp_path, monkeypatch)) == {"utility-chest-x-ray.png", "attacks.png"}
    ends = only(table, lambda row: row["epsilon"] == "none" and not row["keep"])
    assert drawn(ends, tmp_path, monkeypatch) == {}
    assert drawn(only(table, lambda row: False), tmp_path, monkeypatch) == {}


def test_one_seed_is_drawn_without_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(drawn(utility_rows.written(tmp_path / "one.csv", seeds=1), tmp_path, monkeypatch)) == WHOLE


def test_every_line_is_named_at_its_end_and_no_name_covers_another(
    table: StudyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(table, tmp_path, monkeypatch)["utility-chest-x-ray.png"]
    assert texts(figure) == {
        *("directional, code-logistic", "directional, code-aware", "codebook", "selection", "laplace", "gaussian"),
        *("raw .940", "null .500", "chance .500", "pixel PCA baseline"),
    }
    (axes,) = figure.axes
    heights = sorted(axes.transData.transform((0, text.get_position()[1]))[1] for text in axes.texts)
    apart = [above - below for below, above in pairwise(heights)]
    assert min(apart) > 9.5 * figure.dpi / 72  # the size of the letters


def test_raw_of_each_learner_and_the_baseline_stand_in_the_figure_of_pictures(
    table: StudyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = drawn(table, tmp_path, monkeypatch)
    chest = texts(figures["utility-pictures-chest-x-ray.png"])
    assert chest == {"logistic", "cnn", "raw, logistic .940", "null .500", "chance .500", "32x32 prototype"}
    assert "32x32 prototype" not in texts(figures["utility-pictures-fashion-mnist.png"])


def test_the_figure_of_codes_has_a_line_for_each_code(
    table: StudyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = texts(drawn(table, tmp_path, monkeypatch)["utility-codes-chest-x-ray.png"])
    assert found == {"invariant", *utility_rows.CODES, "raw, invariant .940", "null .500", "chance .500"}


def test_bars_are_the_t_interval_over_seeds(table: StudyTable) -> None:
    group = table.where(
        dataset="chest-x-ray", space="code", code="invariant", mechanism="laplace", learner="code-logistic"
    )
    found = means(group)
    assert list(found) == list(utility_rows.EPSILONS)
    assert found["1"].half_width == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)


def test_a_bar_ends_where_scores_do_and_one_seed_has_none() -> None:
    found = bars([Interval(0.9, 0.3, 2), Interval(0.2, 0.05, 3), Interval(0.1, 0.3, 2), Interval.of([0.4])])
    assert found == pytest.approx(np.array([[0.3, 0.05, 0.1, 0], [0.1, 0.05, 0.3, 0]]))


def test_a_mark_is_scaled_between_its_controls(table: StudyTable) -> None:
    found = {(mark.mechanism, mark.epsilon): mark for mark in marks(table, "fashion-mnist")}
    assert len(found) == len(utility_rows.KEPT) * len(utility_rows.EPSILONS)
    mark = found["directional", "8"]
    row = table.where(dataset="fashion-mnist", mechanism="directional", epsilon="8", learner="code-aware", seed="1")[0]
    assert mark.attack.mean == pytest.approx(2 * float(row["verification"]) - 1)
    assert mark.utility.mean == pytest.approx(0.95, abs=1e-5)
    assert mark.utility.half_width == pytest.approx(4.3027 * 0.01 / 3**0.5 / 0.7, rel=1e-4)


def test_a_forced_k_is_in_its_own_figure_and_ringed_where_it_was_chosen(
    table: StudyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = drawn(table, tmp_path, monkeypatch)["utility-keeps.png"].axes
    assert [axes.get_title(loc="left") for axes in panels] == ["chest-x-ray: AUC", "fashion-mnist: accuracy"]
    for axes in panels:
        names = [container.get_label() for container in axes.containers]
        assert names == ["no noise", "no noise, direction alone", "epsilon 1", "epsilon 4"]
        rings = [line.get_xdata()[0] for line in axes.lines if line.get_markersize() == 12]
        assert rings == pytest.approx([4, 4], rel=0.1)


def test_a_null_below_chance_counts_as_chance(table: StudyTable) -> None:
    rows = [{**row, "value": "0.4"} if row["mechanism"] == "null" else row for row in table]
    scale = scale_of(StudyTable(table.columns, [tuple(row.values()) for row in rows]), "chest-x-ray", "code")
    assert (scale.null.mean if scale.null else None, scale.floor) == (pytest.approx(0.4), 0.5)


def test_a_data_set_without_room_or_ends_has_no_frontier(table: StudyTable) -> None:
    bare = only(table, lambda row: row["mechanism"] != "raw")
    assert marks(bare, "chest-x-ray") == []
    assert draw_frontier(bare) is None
    close = [{**row, "value": "0.53"} if row["mechanism"] == "raw" else row for row in table]
    assert marks(StudyTable(table.columns, [tuple(row.values()) for row in close]), "chest-x-ray") == []


def test_the_front_holds_what_no_other_beats() -> None:
    points = [(0.0, 0.0), (1.0, 1.0), (0.2, 0.5), (0.2, 0.6), (0.3, 0.6), (0.1, -0.2)]
    assert pareto_front(points) == [(0.0, 0.0), (0.2, 0.6), (1.0, 1.0)]


def test_epsilon_is_written_at_directional_marks_only(table: StudyTable) -> None:
    figure = draw_frontier(table)
    assert figure is not None
    assert len(figure.axes) == 2
    assert texts(figure) == {"null", "raw", *utility_rows.EPSILONS}
    assert len(figure.legends) == 1


def test_no_mark_of_an_attack_is_drawn_above_its_line(table: StudyTable) -> None:
    figure = draw_attacks(table)
    assert figure is not None
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.lines}
        for container in axes.containers:
            name = container.get_label()
            line = lines["line of gaussian" if name == "gaussian" else "line of the claim"]
            xs, ys = np.asarray(container.lines[0].get_data(), float)
            assert (ys < np.interp(xs, *np.asarray(line.get_data(), float))).all(), name


def test_lines_of_equal_claims_are_one_whatever_the_number_of_seeds(table: StudyTable) -> None:
    wide = [{**row, "verification_line": "0.73106"} for row in table if row["verification_line"]]
    more = [{**row, "seed": str(seed)} for row in wide if row["mechanism"] == "directional" for seed in range(3, 7)]
    figure = draw_attacks(StudyTable(table.columns, [tuple(row.values()) for row in (*wide, *_one_a_seed(more))]))
    assert figure is not None
    assert not [line.get_label() for line in figure.axes[-1].lines if str(line.get_label()).startswith("line of d")]


def _one_a_seed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """One of the rows that differ in nothing but what was measured."""
    return list(
        {tuple(row[name] for name in (*STUDIES["utility"].key_columns, "learner")): row for row in rows}.values()
    )


@pytest.mark.parametrize(
    ("verdict", "told"),
    [("above the line", "1 of 360 refuted the claim"), ("no power", "0 of 360 refuted the claim, 1 had no power to")],
)
def test_the_title_of_the_attacks_tells_their_verdicts(table: StudyTable, verdict: str, told: str) -> None:
    rows = table.rows()
    first = next(row for row in rows if row["attacks_verdict"] and row["learner"] == "code-logistic")
    first["attacks_verdict"] = f"within the line; {verdict}"
    figure = draw_attacks(StudyTable(table.columns, [tuple(row.values()) for row in rows]))
    assert figure is not None
    assert figure.get_suptitle().endswith(told)
