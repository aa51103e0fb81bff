"""What leaves a directional model: the claim as asked, rows that stand alone, pictures that know only their code."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import veilray
from veilray.api import release
from veilray.codes import ContentCode
from veilray.errors import Refused
from veilray.methods import DirectionalRelease, SelectionRelease, load_method
from veilray.methods.directional import KeptCodeMethod
from veilray.privacy import MECHANISMS, Claim, Entropy, Mechanism, SeededEntropy, SystemEntropy
from veilray.releases import Release, ReleaseContext
from veilray.report import contact_sheet, preview_sheet

TinyFit = Callable[..., Path]
MADE = {
    "laplace": ("laplace", Claim.of("4"), {}),
    "laplace of an element": ("laplace", Claim.of("1", unit="element"), {}),
    "gaussian": ("gaussian", Claim.of("4", "1/100000"), {}),
    "directional": ("directional", Claim.of("1"), {}),
    "directional in blocks": ("directional", Claim.of("16"), {}),
    "directional on the sphere": ("directional", Claim.of("4"), {"form": "sphere"}),
    "codebook": ("codebook", Claim.of("4"), {}),
    "selection": ("selection", Claim.of("4"), {"candidates": 64}),
    "blockwise": ("blockwise", Claim.of("4"), {"sizes": "1,2,1", "shares": "3,1,0"}),
}
EXTREME = np.stack([np.zeros((1, 8, 8)), np.full((1, 8, 8), 255), np.full((1, 8, 8), 97)]).astype(np.uint8)


def made(method: KeptCodeMethod, name: str) -> Mechanism:
    kind, claim, options = MADE[name]
    return method.calibrated(claim, kind, **options)


def seeded(method: KeptCodeMethod, images: NDArray[Any], mechanism: Mechanism, seed: int = 0) -> Release:
    return method.release(images, ReleaseContext(mechanism, SeededEntropy(seed)))


def test_every_mechanism_of_latents_is_tried_here() -> None:
    assert {kind for kind, _, _ in MADE.values()} >= {name for name in MECHANISMS if name != "randomised_response"}


@pytest.mark.parametrize("name", MADE)
def test_every_mechanism_releases_pictures_and_rows(
    directional: DirectionalRelease, private_digits: np.ndarray, name: str
) -> None:
    mechanism = made(directional, name)
    released = directional.release(private_digits, ReleaseContext(mechanism, SystemEntropy()))
    assert (released.pixels.shape, released.pixels.dtype) == (private_digits.shape, np.uint8)
    assert len(np.unique(released.pixels.reshape(96, -1), axis=0)) > 90
    assert released.code is not None
    assert (released.code.shape, released.code.dtype) == ((96, 4), np.float64)
    assert np.isfinite(released.code).all()
    assert released.guarantee is not None
    claim = MADE[name][1]
    assert released.guarantee.dimension == 4
    assert released.guarantee.epsilon == claim.epsilon
    assert released.guarantee.delta == claim.delta
    assert released.guarantee.image_epsilon == claim.epsilon * (4 if claim.unit == "element" else 1)
    assert released.provenance["mechanism"] == released.guarantee.mechanism == mechanism.name


@pytest.mark.parametrize("name", MADE)
def test_a_row_does_not_depend_on_the_other_images(
    directional: DirectionalRelease, private_digits: np.ndarray, name: str
) -> None:
    mechanism = made(directional, name)
    first = seeded(directional, private_digits[:6], mechanism)
    mixed = np.concatenate([private_digits[20:23], private_digits[3:4], EXTREME[:2]])
    other = seeded(directional, mixed, mechanism)
    assert first.code is not None
    assert other.code is not None
    assert np.array_equal(first.code[3], other.code[3])
    assert np.array_equal(first.pixels[3], other.pixels[3])


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("code", ["content", "gram"])
def test_flat_and_extreme_images_are_released_like_any_other(tiny_fit: TinyFit, name: str, code: str) -> None:
    options = {"content": "pixels"} if code == "content" else {"code": code}
    method = load_method(tiny_fit("directional", keep=4, **options))
    assert isinstance(method, KeptCodeMethod)
    for images in (EXTREME, EXTREME[:1], EXTREME[:0]):
        released = seeded(method, images, made(method, name))
        assert released.pixels.shape == images.shape
        assert released.code is not None
        assert np.isfinite(released.code).all()


def test_rows_that_are_not_finite_are_released_like_any_other(
    directional: DirectionalRelease, private_digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.array([[np.nan, 0, 0, 0], [np.inf, 1, 1, 1], [0, 0, 0, 0]])
    monkeypatch.setattr(directional, "encode", lambda _: rows)
    for name in MADE:
        released = seeded(directional, private_digits[:3], made(directional, name))
        assert released.code is not None
        assert np.isfinite(released.code).all()


def test_a_seeded_release_carries_no_claim(directional: DirectionalRelease, private_digits: np.ndarray) -> None:
    mechanism = directional.calibrated(Claim.of("1"))
    first, again, other = (seeded(directional, private_digits, mechanism, seed) for seed in (1, 1, 2))
    assert first.guarantee is None
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.code, other.code)
    drawn = [directional.release(private_digits, ReleaseContext(mechanism, SystemEntropy())).code for _ in range(2)]
    assert not np.array_equal(drawn[0], drawn[1])


def test_the_default_mechanism_keeps_the_whole_image_claim(directional: DirectionalRelease) -> None:
    guarantee = directional.calibrated(Claim.of("1/3")).guarantee(4)
    assert (guarantee.mechanism, guarantee.unit, guarantee.image_epsilon) == ("directional", "image", Fraction(1, 3))
    with pytest.raises(ValueError, match="delta must be 0 for directional"):
        directional.calibrated(Claim.of("1", "1/1000"))
    with pytest.raises(ValueError, match="blocks must be between 1 and 4"):
        directional.calibrated(Claim.of("40"))


@pytest.mark.parametrize("code", ["pixels", "gram"])
def test_pictures_say_more_of_their_images_at_larger_epsilon(
    tiny_fit: TinyFit, private_digits: np.ndarray, code: str
) -> None:
    options = {"content": "pixels"} if code == "pixels" else {"code": code}
    method = load_method(tiny_fit("directional", keep=4, **options))
    assert isinstance(method, KeptCodeMethod)
    codes = method.encode(private_digits)

    def cosine(epsilon: str) -> float:
        shown = method.encode(seeded(method, private_digits, method.calibrated(Claim.of(epsilon))).pixels)
        lengths = np.linalg.norm(codes, axis=1) * np.linalg.norm(shown, axis=1)
        return float(np.mean((codes * shown).sum(axis=1) / lengths))

    low, high = cosine("1/10"), cosine("8")
    assert abs(low) < 0.3
    assert high > low + 0.3


# Nothing of a private image but its code reaches the picture.


def differs_for_equal_codes(method: KeptCodeMethod, images: NDArray[Any], others: NDArray[Any], name: str) -> bool:
    """Whether pictures of different images with the same code rows differ, under the same noise."""
    assert not (images == others).all(axis=(1, 2, 3)).any()
    rows = method.code.encode(images)
    real, mechanism = method.encode, made(method, name)
    released = []
    for batch in (images, others):

        def encode(given: NDArray[Any]) -> NDArray[np.float64]:
            real(given)
            return rows.copy()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(method, "encode", encode)
            released.append(seeded(method, batch, mechanism))
    assert np.array_equal(released[0].code, released[1].code)
    return not np.array_equal(released[0].pixels, released[1].pixels)


class Peeping(DirectionalRelease):
    """A mutant: its renderer remembers the brightness of the last images and lets it into their pictures."""

    _seen: NDArray[Any]

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        self._seen = images.mean(axis=(1, 2, 3)) > 77
        return super().encode(images)

    def render(self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy) -> NDArray[Any]:
        pictures = super().render(drawn, mechanism, entropy).copy()
        pictures[:, 0, 0, 0] += self._seen.astype(np.uint8)
        return pictures


@pytest.mark.parametrize("name", MADE)
def test_only_the_code_reaches_the_picture(
    directional: DirectionalRelease, private_digits: np.ndarray, name: str
) -> None:
    assert not differs_for_equal_codes(directional, private_digits[:20], 255 - private_digits[:20], name)


@pytest.mark.parametrize("code", ["vae", "gram", "levels"])
def test_only_the_code_reaches_the_picture_whatever_the_code(
    tiny_fit: TinyFit, private_digits: np.ndarray, code: str
) -> None:
    options = {"content": "vae", "code_epochs": 1} if code == "vae" else {"code": code}
    method = load_method(tiny_fit("directional", keep=4, **options))
    assert isinstance(method, KeptCodeMethod)
    assert not differs_for_equal_codes(method, private_digits[:20], 255 - private_digits[:20], "directional")


def test_only_the_code_reaches_the_picture_of_a_selection(
    selection: SelectionRelease, private_digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MADE, "stored", ("selection", Claim.of("4"), {}))
    assert not differs_for_equal_codes(selection, private_digits[:20], 255 - private_digits[:20], "stored")


def test_a_renderer_that_looks_at_the_image_is_caught(
    directional: DirectionalRelease, private_digits: np.ndarray
) -> None:
    mutant = Peeping(directional.code, directional.flow, directional.card, directional.domain)
    assert differs_for_equal_codes(mutant, private_digits[:20], 255 - private_digits[:20], "directional")


def test_images_that_truly_share_a_code_share_their_release(
    directional: DirectionalRelease, private_digits: np.ndarray
) -> None:
    """The corner of a digit is always empty, so no principal component looks there."""
    code = directional.code
    assert isinstance(code, ContentCode)
    assert np.abs(code.basis[0].numpy()).max() < 1e-9
    marked = private_digits[:20].copy()
    marked[:, 0, 0, 0] = 255
    mechanism = directional.calibrated(Claim.of("8"))
    plain, other = (seeded(directional, images, mechanism) for images in (private_digits[:20], marked))
    assert np.array_equal(plain.code, other.code)
    assert np.array_equal(plain.pixels, other.pixels)


# Sheets and the Python interface.


@pytest.mark.parametrize("code", ["pixels", "levels"])
def test_sheets_are_drawn(tiny_fit: TinyFit, private_digits: np.ndarray, tmp_path: Path, code: str) -> None:
    options = {"content": "pixels"} if code == "pixels" else {"code": code}
    method = load_method(tiny_fit("directional", keep=4, **options))
    rows = contact_sheet(method, private_digits[:5])
    assert all(row.pictures.shape == (5, 1, 8, 8) for row in rows)
    assert np.array_equal(rows[0].pictures, private_digits[:5])
    preview_sheet(method, method.calibrated(Claim.of("1")), tmp_path / "preview.png", count=3)
    assert (tmp_path / "preview.png").stat().st_size > 1000


@pytest.mark.parametrize("method", ["directional", "selection"])
def test_fit_and_release_from_python(
    request: pytest.FixtureRequest, private_digits: np.ndarray, tmp_path: Path, method: str
) -> None:
    model = request.getfixturevalue(f"{method}_model")
    np.savez(tmp_path / "private.npz", images=private_digits[:10, 0], label=np.array(["odd", "even"] * 5))
    house = {"ledger": tmp_path / "ledger.sqlite", "record": tmp_path / "record"}
    outcome = veilray.release(tmp_path / "private.npz", model, "2", tmp_path / "out", **house)
    assert (outcome.guarantee.mechanism, outcome.guarantee.epsilon) == (method, 2)
    assert outcome.guarantee.dimension == 4
    opened = veilray.open_release(tmp_path / "out")
    assert opened.codes is not None
    assert opened.codes.shape == (10, 4)
    assert np.asarray(opened.images).shape == (10, 1, 8, 8)
    assert opened.mechanism is not None
    assert opened.mechanism.guarantee(4) == load_method(model).calibrated(Claim.of("2")).guarantee(4)
    assert np.array_equal(opened.encode(private_digits[:, 0]), load_method(model).encode(private_digits))


def test_a_code_that_was_not_fitted_on_public_images_never_leaves(
    tiny_fit: Callable[..., Path], private_digits: np.ndarray, tmp_path: Path
) -> None:
    model = tiny_fit("directional", content="pixels", keep=4, training_data="other patients")
    np.savez(tmp_path / "private.npz", images=private_digits)
    with pytest.raises(Refused, match=r"a kept code must be fitted on public images, got .*'other patients'"):
        release(tmp_path / "private.npz", model, "2", tmp_path / "out", ledger=tmp_path / "ledger.sqlite")
    assert not (tmp_path / "out").exists()
