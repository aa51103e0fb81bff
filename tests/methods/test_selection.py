"""Selection: released pictures are those of the stored list, which holds no copy of a training image."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import veilray
from veilray.images import Collection, Geometry
from veilray.methods import SelectionRelease, load_method
from veilray.methods import selection as module
from veilray.methods.fitting import public_images
from veilray.methods.rendering import ContentRenderer
from veilray.methods.selection import copies
from veilray.privacy import Claim, SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.directional import Directional
from veilray.privacy.mechanisms.selection import Selection
from veilray.releases import ReleaseContext
from veilray.report import preview_sheet

TinyFit = Callable[..., Path]


def stored(folder: Path) -> NDArray[Any]:
    return np.asarray(np.load(folder / "candidates.npy", allow_pickle=False))


def rows_of(images: NDArray[Any]) -> set[bytes]:
    return {image.tobytes() for image in images}


@pytest.fixture
def copied(selection_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(selection_model, tmp_path / "model"))


@pytest.fixture
def halves(public_digits: Path, tmp_path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """The training and the validation images of a fit of the public digits."""
    collection = Collection.open(public_digits)
    collection.scan()
    with public_images(collection, Geometry(8, 1, 8), tmp_path / "m", resume=False) as images:
        return np.array(images.training), np.array(images.validation)


@pytest.mark.parametrize("epsilon", ["1/10", "4", "20"])
def test_released_pictures_are_stored_candidates(
    selection: SelectionRelease, selection_model: Path, private_digits: np.ndarray, epsilon: str
) -> None:
    mechanism = selection.calibrated(Claim.of(epsilon))
    released = selection.release(private_digits, ReleaseContext(mechanism, SystemEntropy()))
    listed = stored(selection_model)
    assert rows_of(released.pixels) <= rows_of(listed)
    assert released.code is not None
    assert isinstance(mechanism, Selection)
    assert np.array_equal(released.pixels, listed[mechanism.index_of(released.code)])
    assert released.guarantee is not None
    assert (released.guarantee.mechanism, released.guarantee.dimension) == ("selection", 4)
    assert str(released.guarantee.epsilon) == epsilon


def test_the_picture_released_is_the_one_whose_code_is(selection: SelectionRelease, private_digits: np.ndarray) -> None:
    mechanism = selection.calibrated(Claim.of("8"))
    released = selection.release(private_digits, ReleaseContext(mechanism, SeededEntropy(0)))
    np.testing.assert_allclose(selection.encode(released.pixels), released.code, atol=1e-9)


def test_at_a_large_epsilon_the_picture_is_near_in_code(
    selection: SelectionRelease, private_digits: np.ndarray
) -> None:
    codes = selection.encode(private_digits)
    far = {}
    for epsilon in ("1/100", "12"):
        context = ReleaseContext(selection.calibrated(Claim.of(epsilon)), SeededEntropy(0))
        far[epsilon] = np.linalg.norm(selection.release(private_digits, context).code - codes, axis=1).mean()
    assert far["12"] < 0.6 * far["1/100"]


def test_the_list_is_the_same_after_load(selection: SelectionRelease, selection_model: Path, tmp_path: Path) -> None:
    selection.save(tmp_path / "again")
    assert np.array_equal(stored(tmp_path / "again"), stored(selection_model))
    again = load_method(tmp_path / "again")
    first, other = (method.calibrated(Claim.of("4")) for method in (selection, again))
    assert isinstance(first, Selection)
    assert isinstance(other, Selection)
    assert np.array_equal(first.candidates, other.candidates)
    assert first.guarantee(4) == other.guarantee(4)
    assert len(stored(selection_model)) == selection.card.figures["candidates"]


def test_fewer_candidates_are_the_first_of_the_list(selection: SelectionRelease, selection_model: Path) -> None:
    mechanism = selection.calibrated(Claim.of("4"), candidates=16)
    assert isinstance(mechanism, Selection)
    assert mechanism.candidates.shape == (16, 4)
    images = np.repeat(stored(selection_model)[:1], 300, axis=0)
    released = selection.release(images, ReleaseContext(mechanism, SeededEntropy(0)))
    assert rows_of(released.pixels) <= rows_of(stored(selection_model)[:16])


@pytest.mark.parametrize("count", [-1, 0, 1, 10**6])
def test_as_many_candidates_as_there_are_not_are_refused(selection: SelectionRelease, count: int) -> None:
    with pytest.raises(ValueError, match="candidates must be between 2 and the"):
        selection.calibrated(Claim.of("4"), candidates=count)


@pytest.mark.parametrize("name", ["laplace", "directional", "codebook", "magic"])
def test_another_mechanism_is_refused(selection: SelectionRelease, name: str) -> None:
    with pytest.raises(ValueError, match="mechanism must be selection"):
        selection.calibrated(Claim.of("4"), name)
    with pytest.raises(ValueError, match=r"mechanism must be selection .* got directional"):
        selection.render(np.ones((1, 4)), Directional.calibrate(Claim.of("1"), 4), SeededEntropy(0))


def test_winners_are_an_option(selection: SelectionRelease) -> None:
    mechanism = selection.calibrated(Claim.of("4"), "selection", winners="5")
    assert isinstance(mechanism, Selection)
    assert mechanism.selection.winners == 5


# Copies.


def test_planted_copies_are_found_and_honest_pictures_are_not(halves: tuple[NDArray[Any], NDArray[Any]]) -> None:
    training, validation = halves
    noise = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    nearly = np.clip(training[5:8].astype(int) + 1, 0, 255).astype(np.uint8)
    found = copies(np.concatenate([training[:5], nearly, noise]), training, validation)
    assert found.tolist() == [True] * 8 + [False] * 20


def test_a_set_with_repeats_still_shows_its_copies(halves: tuple[NDArray[Any], NDArray[Any]]) -> None:
    training, validation = halves
    repeated = np.concatenate([validation, training[:3]])
    nearly = np.clip(training[:4].astype(int) + 1, 0, 255).astype(np.uint8)
    assert copies(np.concatenate([training[:5], nearly]), training, repeated).all()
    assert copies(training[:5], training, training[:3]).all()
    assert not copies(nearly, training, training[:3]).any()  # nothing says what is near


def test_copies_of_no_pictures_are_none(halves: tuple[NDArray[Any], NDArray[Any]]) -> None:
    assert copies(halves[0][:0], *halves).shape == (0,)


def test_deep_pictures_are_compared_exactly(halves: tuple[NDArray[Any], NDArray[Any]]) -> None:
    deep = [images.astype(np.uint16) * 257 for images in halves]
    assert copies(deep[0], *deep).all()


def drawing(monkeypatch: pytest.MonkeyPatch, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Let the decoder draw other pictures."""
    real = ContentRenderer.__call__
    monkeypatch.setattr(ContentRenderer, "__call__", lambda *arguments: change(real(*arguments)))


def test_copies_of_training_images_are_left_out_of_the_list(
    halves: tuple[NDArray[Any], NDArray[Any]], public_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    tiny_options: dict[str, Any],
) -> None:  # fmt: skip
    training, validation = halves
    planted = np.concatenate([training[:20], np.clip(training[20:25].astype(int) + 1, 0, 255).astype(np.uint8)])
    drawing(monkeypatch, lambda drawn: np.concatenate([planted, drawn[25:]]))
    fitted = veilray.fit("selection", public_digits, tmp_path / "s", content="pixels", keep=4, **tiny_options)
    listed = stored(tmp_path / "s")
    assert not rows_of(planted) & rows_of(listed)
    assert not copies(listed, training, validation).any()
    assert fitted.card.figures["copies_left_out"] >= 25
    assert fitted.card.figures["candidates"] == len(listed)


def test_pictures_drawn_twice_are_listed_once(
    public_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_options: dict[str, Any]
) -> None:
    drawing(monkeypatch, lambda drawn: np.concatenate([drawn[:100], drawn[:-100]]))
    fitted = veilray.fit("selection", public_digits, tmp_path / "s", content="pixels", keep=4, **tiny_options)
    listed = stored(tmp_path / "s")
    assert len(listed) == len(rows_of(listed)) <= 1948
    assert fitted.calibrated(Claim.of("4")).dimension == 4


def test_a_decoder_that_only_copies_is_refused(
    halves: tuple[NDArray[Any], NDArray[Any]], public_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    tiny_options: dict[str, Any],
) -> None:  # fmt: skip
    drawing(monkeypatch, lambda drawn: halves[0][np.arange(len(drawn)) % len(halves[0])])
    with pytest.raises(ValueError, match="candidates must be 2 or more that are no copies"):
        veilray.fit("selection", public_digits, tmp_path / "s", content="pixels", keep=4, **tiny_options)
    assert not (tmp_path / "s" / "model.json").exists()


def test_the_list_is_made_of_the_model_and_the_public_images_alone(
    selection_model: Path, halves: tuple[NDArray[Any], NDArray[Any]], private_digits: np.ndarray
) -> None:
    method = load_method(selection_model)
    assert isinstance(method, SelectionRelease)
    method.release(private_digits, ReleaseContext(method.calibrated(Claim.of("4")), SystemEntropy()))
    card = method.card
    method._prepare(*halves)
    assert method.card == card
    assert np.array_equal(method._candidates, stored(selection_model))
    prior = method.prior(module._COUNT, SeededEntropy(f"public candidates of {card.weights_sha256}"))
    shown = method.encode(stored(selection_model))
    assert np.corrcoef(shown[:50, 0], prior[:50, 0])[0, 1] > 0.9


# The file.


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def absurd() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**13, 1, 8, 8)})
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    np.savez(file, candidates=np.zeros((4, 1, 8, 8), np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(
    "harm",
    [
        lambda listed: b"",
        lambda listed: npy(listed)[:-7],
        lambda listed: npy(listed)[:40],
        lambda listed: b"not an array",
        lambda listed: absurd(),
        lambda listed: zipped(),
        lambda listed: npy(listed[:-1]),
        lambda listed: npy(listed ^ 1),
        lambda listed: npy(listed.reshape(-1, 8, 8)),
        lambda listed: npy(listed.reshape(-1, 1, 4, 16)),
        lambda listed: npy(listed.view(np.int8)),
        lambda listed: npy(listed.astype(np.uint16)),
    ],
)
def test_a_list_that_is_another_is_refused(copied: Path, harm: Callable[[NDArray[Any]], bytes]) -> None:
    (copied / "candidates.npy").write_bytes(harm(stored(copied)))
    with pytest.raises(ValueError, match=r"candidates\.npy must be"):
        load_method(copied)


def test_a_missing_list_is_refused(copied: Path) -> None:
    (copied / "candidates.npy").unlink()
    with pytest.raises(ValueError, match=r"candidates\.npy must be the list of candidates"):
        load_method(copied)


def test_a_directional_model_is_no_selection(directional_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(directional_model, tmp_path / "m"))
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "method": "selection"}))
    with pytest.raises(ValueError, match=r"candidates\.npy"):
        load_method(folder)


def test_its_own_domain_and_preview(selection: SelectionRelease, private_digits: np.ndarray, tmp_path: Path) -> None:
    assert selection.domain.separation(selection.domain_scores(private_digits)) < 0.5
    preview_sheet(selection, selection.calibrated(Claim.of("4")), tmp_path / "p.png", count=3)
    assert (tmp_path / "p.png").stat().st_size > 1000
