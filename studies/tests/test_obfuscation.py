"""The cells of the obfuscation study on tiny smooth pictures, its tables and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from veilray.images import Collection
from veilray.methods.obfuscation import Obfuscation
from veilray_studies import STUDIES, ObfuscationStudy, StudyTable
from veilray_studies.kinds import obfuscation_cells
from veilray_studies.kinds.obfuscation_game import Game, PreparedSet, study_key
from veilray_studies.kinds.obfuscation_plots import draw
from veilray_studies.kinds.obfuscation_settings import MODELS, SETTINGS
from veilray_studies.kinds.obfuscation_table import (
    TABLES,
    attack_table,
    opened,
    settings_of,
    utility_table,
    verdict,
    verdict_table,
)

SIZE = 16
FIXED = {"prepared": ".", "data": "tiny", "seed": 0, "targets": 6, "pairs": 12, "unet_steps": 2, "training_steps": 4}


def smooth(count: int, seed: int) -> np.ndarray:
    shapes = gaussian_filter(np.random.default_rng(seed).normal(size=(count, SIZE, SIZE)), (0, 3, 3))
    shading = np.add.outer(np.linspace(40, 150, SIZE), np.linspace(0, 60, SIZE))
    return np.asarray(np.clip(shading + 200 * shapes, 0, 255)[:, None], np.uint8)


def prepare(folder: Path, *, labelled: bool) -> None:
    folder.mkdir()
    arrays: dict[str, Any] = {
        "other_images": smooth(10, 9),
        "label_names": np.array(["a", "b"] if labelled else [], str),
    }
    for seed, (part, count) in enumerate({"own": 40, "train": 40, "test": 24}.items()):
        arrays[f"{part}_images"] = smooth(count, seed)
        arrays[f"{part}_labels"] = np.arange(count) % 2 if labelled else np.full(count, -1)
        arrays[f"{part}_patients"] = np.array([f"{part} {row}" for row in range(count)])
    np.savez(folder / "sets.npz", **arrays)
    np.savez(folder / "encoder.npz", images=arrays["own_images"][:, 0], patient=arrays["own_patients"])
    for name in ("none", "pca", "map-pca"):
        with Collection.open(folder / "encoder.npz") as collection:
            collection.scan()
            chosen: Any = {"encoder": MODELS[name].encoder, "order": MODELS[name].order}
            Obfuscation.fit(collection, folder / "models" / name, size=SIZE, **chosen)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder / "tiny", labelled=True)
    prepare(folder / "run", labelled=False)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obfuscation_cells, "_ALONE", 2)
    monkeypatch.setattr(obfuscation_cells, "_ROUNDS", 2)
    monkeypatch.setattr(obfuscation_cells, "_MAPS", 8)


def measured(base: Path, setting: str, measure: str, **more: Any) -> dict[str, dict[str, Any]]:
    cell = {**FIXED, "setting": setting, "measure": measure, **more}
    study = ObfuscationStudy()
    study.estimate_seconds(cell)
    study.check(cell, base)
    rows = [dict(row) for row in study.run(cell, base)]
    assert all(set(row) == set(study.result_columns) for row in rows)
    return {row["figure"]: row for row in rows}


@pytest.mark.parametrize(
    "measure", ["rank-matching", "ciphertext-only", "grey-ramp", "edge-leak", "histogram-attribute", "u-net-uninformed"]
)
def test_every_attack_stands_between_its_controls(base: Path, measure: str) -> None:
    found = measured(base, "map-image", measure)
    assert {"score", "positive", "negative"} <= set(found)
    assert "nothing" not in found["positive"]["note"]


def test_a_shared_map_is_opened_by_one_question_and_a_map_an_image_is_not(base: Path) -> None:
    shared, own = (measured(base, setting, "grey-ramp")["score"]["value"] for setting in ("map-key", "map-image"))
    assert shared > 0.7
    assert own < shared - 0.2


def test_the_cloud_trains_on_what_the_setting_leaves(base: Path) -> None:
    found = measured(base, "map-pca-key", "utility-level-sets")
    assert 0 <= found["auc"]["value"] <= 1
    assert found["chance"]["value"] == 0.5
    assert measured(base, "raw", "utility-level-sets")["auc"]["images"] == 40


def test_what_stands_before_any_attack(base: Path) -> None:
    found = measured(base, "map-8-key", "figures")
    assert found["level_sets_kept"]["value"] == 1
    assert found["residual_bits_uniform"]["value"] > 4.5
    sizes = [row["value"] for name, row in found.items() if name.startswith("preimage")]
    assert sum(sizes) == pytest.approx(1, abs=1e-3)
    assert "residual_bits" not in measured(base, "pca", "figures")


def test_time_is_that_of_epochs_in_turn(base: Path) -> None:
    found = measured(base, "map-image", "time")
    assert found["epoch_ratio"]["value"] > 0
    assert found["images_a_second"]["value"] > 100


def test_pictures_without_labels_have_vessels_instead(base: Path) -> None:
    found = measured(base, "map-key", "grey-ramp", data="run")
    assert found["vessel_dice_reconstruction"]["value"] > found["vessel_dice_null"]["value"]
    assert "vessel_dice_obfuscated" in measured(base, "map-key", "figures", data="run")
    with pytest.raises(ValueError, match="attributes of targets"):
        measured(base, "map-key", "histogram-attribute", data="run")


def test_a_seed_gives_the_same_pictures_and_another_one_others(base: Path) -> None:
    prepared = PreparedSet(base / "tiny")
    first, again, other = (Game(prepared, "map-key", seed).obfuscated("test") for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_attackers_own_pairs_are_not_under_the_owners_key(base: Path) -> None:
    game = Game(PreparedSet(base / "tiny"), "map-key", 0)
    pairs = game.target("informed", 4, 12).view.pairs
    assert pairs is not None
    assert not np.array_equal(pairs.obfuscated, game.model.obfuscate(pairs.originals, game.key))
    known = game.target("same-key", 4, 12).view.pairs
    assert known is not None
    assert np.array_equal(known.obfuscated, game.model.obfuscate(known.originals, game.key))
    assert study_key("a").identifier != study_key("b").identifier


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"setting": "other", "measure": "time"}, "setting must be one of raw, map-image"),
        ({"setting": "map-key", "measure": "other"}, "measure must be one of utility-level-sets"),
        ({"setting": "raw", "measure": "figures"}, "measure must be one of utility-level-sets, .* of raw pictures"),
        ({"setting": "pca", "measure": "u-net-same-key"}, "u-net-same-key must be of a setting with a key"),
    ],
)
def test_cells_that_cannot_be_are_refused(cell: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObfuscationStudy().estimate_seconds(cell)


@pytest.mark.parametrize(("data", "name"), [("nowhere", "sets.npz"), ("tiny", "models/vae/model.json")])
def test_what_a_cell_reads_is_looked_for_beforehand(base: Path, data: str, name: str) -> None:
    cell: dict[str, Any] = {**FIXED, "data": data, "setting": "vae", "measure": "figures"}
    with pytest.raises(ValueError, match=rf"{name} must be prepared, got none in .*prepare_obfuscation\.py"):
        ObfuscationStudy().check(cell, base)


# Tables and figures, from made-up rows.


def rows(*given: tuple[str, str, str, float], data: str = "chest-x-ray") -> list[tuple[str, ...]]:
    """(setting, measure, figure, value) with an interval of 0.02 either way."""
    return [
        (data, setting, measure, "0", figure, f"{value}", f"{value - 0.02}", f"{value + 0.02}", "9", "", "1", "v", "1")
        for setting, measure, figure, value in given
    ]


def attack(setting: str, name: str, score: float, gain: float) -> list[tuple[str, ...]]:
    figures = {"score": score, "positive": 1.0, "negative": 0.4, "ssim_gain": gain, "ssim_with_1_pairs": score}
    return rows(*((setting, name, figure, value) for figure, value in figures.items()))


def table(*given: list[tuple[str, ...]]) -> StudyTable:
    return StudyTable(ObfuscationStudy().columns, [row for part in given for row in part])


@pytest.mark.parametrize(
    ("score", "gain", "word"),
    [(0.39, -0.01, "resists"), (0.41, 0.01, "resists"), (0.5, 0.1, "leaks"), (0.8, 0.4, "opened")],
)
def test_a_verdict_asks_whether_the_null_is_beaten(score: float, gain: float, word: str) -> None:
    mine = table(attack("map-key", "known-pairs", score, gain))
    assert verdict(mine) == word
    assert opened(mine) == pytest.approx((score - 0.4) / 0.6)
    assert word in verdict_table(mine, "chest-x-ray")
    assert (f"**{score:.3f}**" in attack_table(mine, "chest-x-ray")) == (word != "resists")


@pytest.mark.parametrize(("score", "word"), [(0.51, "resists"), (0.53, "leaks")])
def test_chance_is_no_leak_of_an_attribute(score: float, word: str) -> None:
    """The null's interval ends at 0.46; a learner that always says the same is right by chance, 0.5."""
    told = {"score": score, "positive": 0.9, "negative": 0.44, "chance": 0.5}
    mine = table(rows(*(("map-key", "histogram-attribute", figure, value) for figure, value in told.items())))
    assert verdict(mine) == word


def test_an_attack_without_power_says_nothing() -> None:
    given = attack("map-key", "known-pairs", 0.8, 0.4)
    note = ObfuscationStudy().columns.index("note")
    given[1] = (*given[1][:note], "no power", *given[1][note + 1 :])
    assert verdict(table(given)) == "no power"
    assert verdict(table()) == ""


def test_utility_stands_beside_raw_and_chance() -> None:
    given = rows(
        ("raw", "utility-level-sets", "auc", 0.9),
        ("vae", "utility-level-sets", "auc", 0.7),
        ("vae", "utility-level-sets", "chance", 0.5),
    )
    text = utility_table(table(given), "chest-x-ray")
    assert "| raw | 0.900 (0.880 to 0.920) |" in text
    assert "| chance | 0.500 |" in text
    assert settings_of(table(given)) == ["raw", "vae"]
    with pytest.raises(ValueError, match=r"data must be one of chest-x-ray, .* got 'other'"):
        utility_table(table(given), "other")


def test_figures_are_drawn_and_every_table_is_written(tmp_path: Path) -> None:
    some = [attack(setting, "known-pairs", 0.6, 0.2) for setting in ("map-key", "vae-map-key")]
    some += [rows((setting, "utility-level-sets", "auc", 0.8)) for setting in ("raw", "map-key")]
    drawn = STUDIES["obfuscation"].plot(table(*some), tmp_path)
    assert [path.name for path in drawn] == [
        "obfuscation-attacks.png",
        "obfuscation-frontier.png",
        "obfuscation-pairs.png",
    ]
    assert draw(table(), tmp_path) == []
    assert all("---" in make(table(*some)) for make in TABLES.values())


def test_every_setting_is_made_of_a_model() -> None:
    assert {setting.model for setting in SETTINGS.values()} == set(MODELS)
