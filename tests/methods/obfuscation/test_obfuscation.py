"""The method: recipes, scopes, orders, saving and loading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veilray.images import Collection
from veilray.methods import METHODS
from veilray.methods.obfuscation import Key, MapFamily, Obfuscation, Recipe
from veilray.privacy import SeededEntropy

Fitted = Callable[..., Obfuscation]
SAME = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 1, 16, 16), dtype=np.uint8), 12, axis=0)


def distinct(images: np.ndarray) -> int:
    return len({image.tobytes() for image in images})


@pytest.mark.parametrize(("scope", "maps"), [("image", 12), ("batch", 3), ("key", 1)])
def test_the_scope_says_who_shares_a_map(fitted: Fitted, scope: str, maps: int) -> None:
    model = fitted(map_scope=scope, map_batch=4)
    assert distinct(model.obfuscate(SAME, Key.fresh())) == maps


def test_another_call_draws_other_maps_unless_the_scope_is_the_key(fitted: Fitted) -> None:
    key = Key.fresh()
    for scope, same in (("image", False), ("key", True)):
        model = fitted(scope, map_scope=scope)
        first, second = model.obfuscate(SAME, key), model.obfuscate(SAME, key)
        assert np.array_equal(first, second) is same


def test_key_model_and_nonce_fix_a_map(fitted: Fitted) -> None:
    model, other = fitted(map_levels=64), fitted("other", map_levels=64, map_smoothness=0.0001)
    key, nonces = Key.fresh(), [b"n"] * 12
    once = model.obfuscate(SAME, key, nonces)
    np.testing.assert_array_equal(once, model.obfuscate(SAME, key, nonces))
    assert not np.array_equal(once, model.obfuscate(SAME, Key.fresh(), nonces))
    assert not np.array_equal(once, other.obfuscate(SAME, key, nonces))


def test_a_seed_repeats_an_experiment(fitted: Fitted) -> None:
    model, key = fitted(), Key.fresh()
    first, second = (model.obfuscate(SAME, key, entropy=SeededEntropy(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_map_alone_is_a_function_of_the_grey_level(fitted: Fitted) -> None:
    image = SAME[:1]
    obfuscated = fitted().obfuscate(image, Key.fresh())
    for level in np.unique(image):
        assert len(np.unique(obfuscated[image == level])) == 1


def test_colour_channels_share_the_map(fitted: Fitted) -> None:
    model = fitted(channels=3)
    grey = np.repeat(SAME[:2], 3, axis=1)
    obfuscated = model.obfuscate(grey, Key.fresh())
    np.testing.assert_array_equal(obfuscated[:, 0], obfuscated[:, 2])


def test_no_picture_gives_no_picture(fitted: Fitted) -> None:
    assert fitted().obfuscate(SAME[:0], Key.fresh()).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("images", [np.zeros((2, 1, 8, 8), np.uint8), np.zeros((2, 1, 16, 16), np.uint16)])
def test_pictures_of_another_size_or_depth_are_refused(fitted: Fitted, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"images must be \(n, 1, 16, 16\) uint8 as in the model, got"):
        fitted().obfuscate(images, Key.fresh())


def test_a_model_is_read_back(fitted: Fitted, tmp_path: Path) -> None:
    model = fitted(map_levels=7, map_smoothness=0.3, map_scope="batch", map_batch=5)
    loaded = Obfuscation.load(tmp_path / "model")
    assert (loaded.recipe, loaded.card) == (model.recipe, model.card)
    key, nonces = Key.fresh(), [b"n"] * 12
    np.testing.assert_array_equal(loaded.obfuscate(SAME, key, nonces), model.obfuscate(SAME, key, nonces))


def test_the_card_says_that_there_is_no_guarantee(fitted: Fitted) -> None:
    model = fitted()
    assert Obfuscation.guarantee is None
    assert model.card.configuration["claim"] == "empirical, no formal guarantee"
    assert "empirical, no formal guarantee" in model.card.intended_use
    assert {"residual_bits", "edges_kept", "level_sets_kept", "histogram_distance"} <= model.card.figures.keys()


def test_a_release_does_not_know_the_method() -> None:
    assert "obfuscation" not in METHODS


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_model_is_refused(fitted: Fitted, tmp_path: Path, damage: str) -> None:
    fitted()
    path = tmp_path / "model" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-7] if damage == "truncated" else content)
    with pytest.raises(ValueError, match="got no such file" if damage == "missing" else "truncated or altered"):
        Obfuscation.load(tmp_path / "model")


def test_a_card_with_another_recipe_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    fitted(map_levels=16)
    path = tmp_path / "model" / "model.json"
    path.write_text(path.read_text().replace('"levels": 16', '"levels": 32'))
    with pytest.raises(ValueError, match="must tell the recipe of its weights"):
        Obfuscation.load(tmp_path / "model")


def test_the_model_of_another_method_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    fitted()
    path = tmp_path / "model" / "model.json"
    path.write_text(path.read_text().replace('"method": "obfuscation"', '"method": "dp-glow"'))
    with pytest.raises(ValueError, match="must be written by `veilray fit obfuscation`, got one of dp-glow"):
        Obfuscation.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoder": "flow"}, "encoder must be one of none, "),
        ({"order": "both"}, "order must be one of map-last, map-first, no-map, got 'both'"),
        ({"encoder": "vae", "encoding": "mode"}, "encoding must be one of mean, sampled, got 'mode'"),
        ({"order": "no-map"}, "order must be map-last without an encoder, got 'no-map'"),
        ({"encoding": "sampled"}, "encoding must be mean without an encoder"),
    ],
)
def test_recipes_that_are_none_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(16, **given)  # type: ignore[arg-type]


def test_a_recipe_is_read_back() -> None:
    recipe = Recipe(32, 3, "pca", "map-first", MapFamily(9, 0.5, "key"))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(ValueError, match="a recipe must have the fields of one"):
        Recipe.from_dict({"size": 3})


def test_an_option_of_an_encoder_needs_one(fitted: Fitted, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="features must go with an encoder"):
        fitted(features=3)
    assert not (tmp_path / "model").exists()


_ROUNDED = 0.001
"""Share of pixels that may differ between two runs of one autoencoder. In which order its float32 is summed depends on
the processor and on where in memory a row begins, and a level between two grey levels may then go to the other one. Not
more is promised: the map alone works on whole numbers, and is exact."""


def _changed(one: np.ndarray, other: np.ndarray) -> float:
    return float((one != other).mean())


@pytest.mark.parametrize("encoder", ["pca", "vae"])
@pytest.mark.parametrize("order", ["map-last", "map-first", "no-map"])
def test_every_order_with_every_encoder(blobs: Collection, tmp_path: Path, encoder: str, order: str) -> None:
    options = {"features": 8} if encoder == "pca" else {"features": 8, "epochs": 1}
    model = Obfuscation.fit(blobs, tmp_path / "m", size=28, encoder=encoder, order=order, map_scope="key", **options)
    images = np.stack([blobs.read(ref, model.geometry) for ref in blobs.refs[:16]])
    key, other = Key.fresh(), Key.fresh()
    obfuscated = model.obfuscate(images, key)
    assert (obfuscated.shape, obfuscated.dtype) == (images.shape, np.uint8)
    assert _changed(obfuscated, Obfuscation.load(tmp_path / "m").obfuscate(images, key)) < _ROUNDED
    keyed = _changed(obfuscated, model.obfuscate(images, other)) > 0.1
    assert keyed is model.recipe.keyed is (order != "no-map")
    if order == "no-map":
        assert _changed(obfuscated, model.autoencoder.reconstruct(images)) < _ROUNDED
    if order == "map-last":
        assert len(np.unique(obfuscated)) <= model.recipe.maps.levels
    assert any(name.startswith("encoder_") for name in model.card.figures)


def test_sampled_codes_differ_from_call_to_call(blobs: Collection, tmp_path: Path) -> None:
    model = Obfuscation.fit(
        blobs, tmp_path / "m", size=28, encoder="vae", order="no-map", encoding="sampled", features=8, epochs=1
    )
    images = np.stack([blobs.read(ref, model.geometry) for ref in blobs.refs[:4]])
    key = Key.fresh()
    assert not np.array_equal(model.obfuscate(images, key), model.obfuscate(images, key))
    first, second = (model.obfuscate(images, key, entropy=SeededEntropy(3)) for _ in range(2))
    assert _changed(first, second) < _ROUNDED
