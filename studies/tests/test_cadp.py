"""The cells of the CADP study on a tiny prepared setting of 8x8 digits, its tables and its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from veilray.codes import ContentCode, save_code
from veilray.images import Collection
from veilray.methods import CADP
from veilray_studies import STUDIES, CadpStudy, StudyTable
from veilray_studies.kinds import cadp_cells
from veilray_studies.kinds.cadp_plots import draw
from veilray_studies.kinds.cadp_release import Asked
from veilray_studies.kinds.cadp_table import attack_table, membership_table, settings_of, utility_table

ALL = {"policy": "public", "epsilon": "4"}
NOTHING = {"policy": "none", "epsilon": "none"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_options: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "eight"
    folder.mkdir()
    values, digits = load_digits(return_X_y=True)
    kept = digits < 3
    images, labels = (values[kept].reshape(-1, 1, 8, 8) * 15).astype(np.uint8), digits[kept].astype(np.int64)
    names = np.array(["zero", "one", "two"])
    people = np.array([f"digit {row}" for row in range(len(labels))])
    parts = {"public": slice(0, 200), "private": slice(200, 400), "test": slice(400, 530)}
    arrays: dict[str, Any] = {f"{part}_images": images[rows] for part, rows in parts.items()}
    for part in ("private", "test"):
        arrays |= {f"{part}_labels": labels[parts[part]], f"{part}_patients": people[parts[part]]}
    np.savez(folder / "sets.npz", **arrays, public_labels=names[labels[:200]], label_names=names)
    np.savez(folder / "public.npz", images=images[:200, 0], label=names[labels[:200]], patient=people[:200])
    options = {**tiny_options, "epochs": 4}
    with Collection.open(folder / "public.npz") as collection:
        collection.scan()
        CADP.fit(collection, folder / "model", keep=8, **options)
    (folder / "shares.json").write_text(json.dumps({"4": {"share": "1/2", "scores": {}}}))
    save_code(ContentCode.fit(images[:200], 8, "pixels", 8), folder / "code")
    (folder / "keep.json").write_text(json.dumps({"4": 3}))
    return folder.parent


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadp_cells, "_SLOW_LEARNER_AT", ())
    monkeypatch.setattr(cadp_cells, "_GALLERY", 30)
    monkeypatch.setattr(cadp_cells, "_PUBLISHED_EPOCHS", 2)


def measured(prepared: Path, release: str, **cell: Any) -> list[dict[str, Any]]:
    whole = {"prepared": ".", "setting": "eight", "release": release, "seed": 0, **cell}
    CadpStudy().estimate_seconds(whole)
    CadpStudy().check(whole, prepared)
    return [dict(row) for row in CadpStudy().run(whole, prepared)]


def test_every_row_has_the_columns_of_the_study(prepared: Path) -> None:
    rows = measured(prepared, "directional", **ALL)
    assert [set(row) for row in rows] == [set(CadpStudy.result_columns)]
    assert rows[0]["label_kept"] == 1
    assert "above" not in rows[0]["attacks_verdict"]
    assert rows[0]["rank_one"] <= rows[0]["rank_one_line"]


def test_a_randomised_label_pays_its_share(prepared: Path) -> None:
    (row,) = measured(prepared, "directional", policy="randomised", epsilon="4")
    assert row["label_epsilon"] == 2
    assert row["label_kept"] == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=1e-4)
    assert sum(map(float, row["layout"].split("shares ")[1].split())) == 2
    assert row["rank_one"] is None


def test_the_null_under_a_randomised_label_spends_all_on_it(prepared: Path) -> None:
    (row,) = measured(prepared, "null-conditional", policy="randomised", epsilon="4")
    assert row["label_epsilon"] == 4


def test_controls_stand_in_order(prepared: Path) -> None:
    raw, public = measured(prepared, "raw", **NOTHING), measured(prepared, "public-only", **NOTHING)
    (null,) = measured(prepared, "null-conditional", policy="public", epsilon="none")
    assert [row["learner"] for row in raw] == ["logistic", "code-logistic"]
    assert [row["learner"] for row in public] == ["logistic", "code-logistic"]
    assert raw[0]["value"] > 0.9
    assert raw[0]["value"] >= null["value"] > 0.2
    assert null["chance"] == raw[0]["chance"]


def test_a_content_code_teaches_above_chance(prepared: Path) -> None:
    (row,) = measured(prepared, "content-code", **ALL)
    assert row["low"] > row["chance"]


def test_the_published_variant_is_measured_without_a_claim(prepared: Path) -> None:
    (row,) = measured(prepared, "published", **ALL)
    assert row["layout"] == "no claim; batch of one"
    assert row["rank_one"] is None


def test_a_flow_that_knows_its_images_by_heart_is_found_out(prepared: Path) -> None:
    rows = measured(prepared, "membership", **NOTHING)
    assert {(row["learner"], row["metric"]) for row in rows} == {
        (score, f"membership {figure}")
        for score in ("likelihood", "calibrated likelihood")
        for figure in ("auc", "tpr at 1 % fpr")
    }
    areas = [row for row in rows if row["metric"] == "membership auc"]
    assert all(row["control"] > row["value"] for row in areas)


def test_dp_sgd_without_enough_public_labels_takes_the_defaults(prepared: Path) -> None:
    pytest.importorskip("opacus", reason='training by DP-SGD needs opacus: pip install "veilray[dp-sgd]"')
    (row,) = measured(prepared, "dp-sgd", policy="none", epsilon="4")
    assert row["layout"] == "delta 1e-05; defaults"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"release": "other", **ALL}, "release must be one of directional"),
        ({"release": "raw", "policy": "none", "epsilon": "1"}, "epsilon must be none where nothing is drawn"),
        ({"release": "directional", "policy": "public", "epsilon": "none"}, "epsilon must be none where nothing"),
        ({"release": "directional", "policy": "secret", "epsilon": "1"}, "policy must be one of public, randomised"),
    ],
)
def test_cells_that_cannot_be_are_refused(cell: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CadpStudy().estimate_seconds({"setting": "eight", "seed": 0, **cell})


@pytest.mark.parametrize("release", ["raw", "directional", "content-code"])
def test_what_a_cell_reads_is_looked_for_beforehand(tmp_path: Path, release: str) -> None:
    cell = {"prepared": ".", "setting": "eight", "release": release, "policy": "public", "epsilon": "4", "seed": 0}
    with pytest.raises(ValueError, match=r"must be prepared, got none in .*: run studies/prepare_cadp\.py"):
        CadpStudy().check(cell, tmp_path)


def test_p_of_a_label_is_that_of_randomised_response() -> None:
    from fractions import Fraction

    assert Asked("directional", Fraction(2), "public").keeps_label(10) == 1
    found = Asked("directional", Fraction(2), "randomised", Fraction(1, 2)).keeps_label(10)
    assert found == pytest.approx(np.e / (np.e + 9))


# Tables and figures, from made-up rows.


def row(release: str, policy: str, epsilon: str, value: float, **more: str) -> dict[str, str]:
    given = {
        "setting": "digits-labelled", "release": release, "policy": policy, "epsilon": epsilon, "seed": "0",
        "learner": "logistic", "metric": "accuracy", "value": f"{value}", "low": f"{value - 0.02}",
        "high": f"{value + 0.02}", "chance": "0.1",
    }  # fmt: skip
    return {**dict.fromkeys(CadpStudy().columns, ""), **given, **more}


def table(*rows: dict[str, str]) -> StudyTable:
    return StudyTable(CadpStudy().columns, [tuple(each.values()) for each in rows])


FLOORS = (
    row("null-conditional", "public", "none", 0.60),
    row("null-conditional", "randomised", "4", 0.70),
    row("public-only", "none", "none", 0.65),
    row("raw", "none", "none", 0.9),
)
ATTACKED = {
    "rank_one": "0.1", "rank_one_line": "0.4", "verification": "0.8", "verification_line": "0.9",
    "attacks_verdict": "within the line; within the line",
}  # fmt: skip


@pytest.mark.parametrize(("value", "star"), [(0.66, True), (0.68, False)])
def test_a_star_stands_where_the_private_images_added_nothing(value: float, star: bool) -> None:
    text = utility_table(table(row("directional", "public", "4", value), *FLOORS), "digits-labelled")
    assert (f"{value:.3f} *" in text) == star


def test_a_randomised_label_is_held_against_its_own_null() -> None:
    drawn = row("directional", "randomised", "4", 0.71, label_kept="0.6906")
    assert "0.710 (p 0.69) *" in utility_table(table(drawn, *FLOORS), "digits-labelled")


def test_attacks_and_memberships_have_tables() -> None:
    one = row("membership", "none", "none", 0.52, learner="likelihood", metric="membership auc", control="0.99")
    rows = table(row("directional", "public", "4", 0.7, **ATTACKED), one)
    assert "| digits-labelled | 4 | 0.100 | 0.400 | 0.800 | 0.900 | within the line |" in attack_table(rows)
    assert "| digits-labelled | likelihood | auc | 0.520 (0.500 to 0.540) | 0.990 |" in membership_table(rows)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="setting must be one of digits-labelled, got 'other'"):
        utility_table(table(*FLOORS), "other")
    assert settings_of(table(*FLOORS)) == ["digits-labelled"]


def test_figures_are_drawn(tmp_path: Path) -> None:
    rows = table(*(row("directional", "public", text, 0.7, **ATTACKED) for text in ("1", "4")), *FLOORS)
    assert [path.name for path in STUDIES["cadp"].plot(rows, tmp_path)] == ["cadp-utility.png", "cadp-attacks.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert draw(table(), tmp_path) == []
