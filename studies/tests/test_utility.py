"""The cells of the utility study, on a tiny prepared data set of 8x8 digits."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from veilray.codes import ContentCode, save_code
from veilray_studies import Utility
from veilray_studies.kinds import utility_cells
from veilray_studies.kinds.prepared import Prepared

STUDY = Path(__file__).parents[1] / "prepare_utility.py"


@pytest.fixture(scope="module")
def preparing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_utility", STUDY)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, preparing: ModuleType, directional_model: Path) -> Path:
    """`invariant` is the pixels' PCA here: which code it is does not matter to a cell."""
    folder = tmp_path_factory.mktemp("prepared") / "eight"
    (folder / "codes").mkdir(parents=True)
    found = load_digits()
    images = (found.data.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
    names = np.array([f"digit {index}" for index in range(len(images))])
    parts = {"public": slice(0, 600), "private": slice(600, 1200), "test": slice(1200, 1700)}
    arrays: dict[str, Any] = {f"{part}_images": images[rows] for part, rows in parts.items()}
    for part in ("private", "test"):
        arrays |= {f"{part}_labels": found.target[parts[part]], f"{part}_patients": names[parts[part]]}
    np.savez(folder / "sets.npz", **arrays)
    save_code(ContentCode.fit(images[:600], 8, "pixels", 16), folder / "codes" / "invariant")
    shutil.copytree(directional_model, folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "EPSILONS", ("4",))
        patch.setattr(preparing, "MECHANISMS", ("directional", "laplace"))
        options = ["--sets", str(folder), "--size", "8", "--classes", "10", "--codes", "invariant,invariant-decayed"]
        preparing.main(["eight", "--out", str(folder.parent), *options])
    keep = (folder / "keep.json").read_text().replace('"4": [', '"1": [2, null], "4": [')  # the null's k
    (folder / "keep.json").write_text(keep)
    return folder.parent


@pytest.fixture(autouse=True)
def small_galleries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility_cells, "_GALLERY", 30)


def measured(prepared: Path, **cell: Any) -> list[dict[str, Any]]:
    whole = {"prepared": ".", "dataset": "eight", "code": "invariant", "seed": 0, **cell}
    return [dict(row) for row in Utility().run(whole, prepared)]


def test_every_row_has_the_columns_of_the_study(prepared: Path) -> None:
    rows = measured(prepared, mechanism="directional", epsilon="4", space="code")
    assert [set(row) for row in rows] == [set(Utility.result_columns)] * 2
    assert [row["learner"] for row in rows] == ["code-logistic", "code-aware"]


def test_codes_teach_between_null_and_raw(prepared: Path) -> None:
    (released, _) = measured(prepared, mechanism="directional", epsilon="4", space="code")
    (raw,) = measured(prepared, mechanism="raw", epsilon="none", space="code")
    (null,) = measured(prepared, mechanism="null", epsilon="none", space="code")
    assert null["value"] < 0.3 < released["value"] < raw["value"]
    assert released["low"] < released["value"] < released["high"]


def test_attacks_stay_within_their_lines(prepared: Path) -> None:
    for mechanism in ("directional", "laplace"):
        row = measured(prepared, mechanism=mechanism, epsilon="4", space="code")[0]
        assert "above" not in row["attacks_verdict"]
        assert row["rank_one"] < row["rank_one_line"]


def test_a_decayed_code_is_scaled_where_it_was_chosen_so(prepared: Path) -> None:
    found = Prepared(prepared / "eight")
    kept = found.kept("invariant-decayed", "directional", "4")
    np.testing.assert_allclose(
        kept.private, kept.code.encode(found.sets["private_images"]), atol=1e-9
    )  # rows and code agree, decayed or not
    assert len(measured(prepared, code="invariant-decayed", mechanism="directional", epsilon="4", space="code")) == 2


def test_pictures_are_measured_beside_their_plausibility(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility_cells, "_IMAGE_LEARNERS", ("logistic",))
    (released,) = measured(prepared, mechanism="directional", epsilon="4", space="image")
    (raw,) = measured(prepared, mechanism="raw", epsilon="none", space="image")
    (null,) = measured(prepared, mechanism="null", epsilon="none", space="image")
    assert null["value"] < released["value"] < raw["value"]
    assert released["density"] is not None and null["coverage"] is not None and raw["density"] is None


def test_a_forced_k_is_kept_and_stands_beside_the_same_numbers_without_noise(prepared: Path) -> None:
    at = {"space": "code", "keep": 3}
    (released,) = measured(prepared, mechanism="directional", epsilon="4", **at)
    (bounded,) = measured(prepared, mechanism="bounded", epsilon="none", **at)
    (raw,) = measured(prepared, mechanism="raw", epsilon="none", **at)
    assert {row["kept"] for row in (released, bounded, raw)} == {3}
    assert 0.1 < released["value"] < min(bounded["value"], raw["value"])


def test_forcing_the_k_that_was_chosen_changes_nothing(prepared: Path) -> None:
    chosen = Prepared(prepared / "eight").kept("invariant", "directional", "4")
    found = Prepared(prepared / "eight").kept("invariant", "directional", "4", chosen.code.dimension)
    np.testing.assert_array_equal(found.private, chosen.private)
    np.testing.assert_array_equal(found.test, chosen.test)


def test_a_k_that_was_not_chosen_is_named(prepared: Path) -> None:
    with pytest.raises(ValueError, match=r"must have a k for invariant codebook 4, got none"):
        measured(prepared, mechanism="codebook", epsilon="4", space="code")


@pytest.mark.parametrize(
    ("gone", "cell"),
    [
        ("sets.npz", {"mechanism": "raw", "epsilon": "none", "space": "image"}),
        ("keep.json", {"mechanism": "laplace", "epsilon": "1", "space": "code"}),
        ("codes/invariant.npz", {"mechanism": "laplace", "epsilon": "1", "space": "code"}),
        ("model/model.json", {"mechanism": "directional", "epsilon": "1", "space": "image"}),
    ],
)
def test_what_a_cell_reads_is_looked_for_beforehand(
    prepared: Path, tmp_path: Path, gone: str, cell: dict[str, str]
) -> None:
    shutil.copytree(prepared / "eight", tmp_path / "eight")
    whole = {"prepared": ".", "dataset": "eight", "code": "invariant-decayed", "seed": 0, **cell}
    Utility().check(whole, tmp_path)
    (tmp_path / "eight" / gone).unlink()
    with pytest.raises(ValueError, match=rf"{gone}: run studies/prepare_utility.py"):
        Utility().check(whole, tmp_path)


def test_preparing_names_a_missing_set(preparing: ModuleType, tmp_path: Path) -> None:
    options = ["--sets", str(tmp_path), "--out", str(tmp_path / "out"), "--size", "8", "--classes", "10"]
    with pytest.raises(SystemExit, match=r"must hold public.npz or public.csv, got neither"):
        preparing.main(["eight", *options])


def test_a_set_that_was_not_prepared_says_how(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a prepared folder.*run studies/prepare_utility.py"):
        measured(tmp_path, mechanism="raw", epsilon="none", space="code")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"space": "sound", "mechanism": "raw", "epsilon": "none"}, "space must be one of"),
        ({"space": "code", "mechanism": "raw", "epsilon": "1"}, "epsilon must be none"),
        ({"space": "code", "mechanism": "laplace", "epsilon": "none"}, "epsilon must be none"),
        ({"space": "code", "mechanism": "bounded", "epsilon": "none"}, "keep must be given for bounded"),
        ({"space": "image", "mechanism": "directional", "epsilon": "1", "keep": 2}, "keep must be absent"),
    ],
)
def test_a_cell_that_cannot_be_run_is_refused_beforehand(cell: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Utility().estimate_seconds(cell)
