"""What the learned contents learn: kinds of digits without labels, and how to rebuild a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from veilray.codes import ContentCode, Invariant, Pixels, VaeMean

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def digits() -> tuple[Images, NDArray[np.int64]]:
    """Scikit-learn's 8x8 digits at twice the size, 1,797 of them in its own order."""
    images, labels = load_digits(return_X_y=True)
    squares = (images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return squares.repeat(2, axis=2).repeat(2, axis=3), labels


PUBLIC, PRIVATE, TEST = slice(0, 900), slice(900, 1350), slice(1350, 1797)


def accuracy(code: ContentCode, digits: tuple[Images, NDArray[np.int64]]) -> float:
    """Of a logistic regression on clean codes of pictures that the code was not fitted on."""
    images, labels = digits
    learner = LogisticRegression(max_iter=1000).fit(code.encode(images[PRIVATE]), labels[PRIVATE])
    return float(learner.score(code.encode(images[TEST]), labels[TEST]))


@pytest.fixture(scope="module")
def invariant(digits: tuple[Images, NDArray[np.int64]]) -> ContentCode:
    return ContentCode.fit(digits[0][PUBLIC], 8, "invariant", 4, epochs=8, width=8)


@pytest.fixture(scope="module")
def vae(digits: tuple[Images, NDArray[np.int64]]) -> ContentCode:
    return ContentCode.fit(digits[0][PUBLIC], 8, "vae", 16, epochs=8, width=8)


def error(code: ContentCode, images: Images) -> float:
    """Squared error of the linear rebuilding from the code, as a share of that of the mean picture."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    rebuilt = mean + code.encode(images) @ code.renderer.double().numpy()
    return float(((flat - rebuilt) ** 2).sum() / ((flat - mean) ** 2).sum())


def test_four_invariant_numbers_tell_digits_apart(
    invariant: ContentCode, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    assert accuracy(invariant, digits) > 0.5, "chance is .1"


def test_invariant_numbers_stay_when_a_picture_is_dimmed_or_shifted(
    invariant: ContentCode, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    images = digits[0][TEST]
    pixels = ContentCode.fit(digits[0][PUBLIC], 8, "pixels", 4)

    def moved(code: ContentCode, altered: Images) -> float:
        return float(np.square(code.encode(altered) - code.encode(images)).mean())

    for altered in (np.roll(images, 1, axis=3), (0.8 * images).astype(np.uint8)):
        assert moved(invariant, altered) < moved(pixels, np.roll(images, 1, axis=3))
    assert moved(invariant, np.roll(images, 1, axis=3)) < 1, "two pictures differ by 2"


def test_the_vae_mean_rebuilds_better_than_the_mean_picture(
    vae: ContentCode, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    assert error(vae, digits[0][TEST]) < 0.5


def test_pixels_rebuild_best_of_all(vae: ContentCode, digits: tuple[Images, NDArray[np.int64]]) -> None:
    """Principal components are the best linear code of their own pictures (Eckart and Young 1936)."""
    images = digits[0][PUBLIC]
    pixels = ContentCode.fit(images, 8, "pixels", 16)
    assert error(pixels, images) < min(error(vae, images), 0.25)


def test_pixel_codes_are_principal_components(digits: tuple[Images, NDArray[np.int64]]) -> None:
    images = digits[0][PUBLIC]
    flat = images.reshape(len(images), -1) / 255.0
    left = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[0][:, :5]
    rows = ContentCode.fit(images, 8, "pixels", 5).encode(images)
    assert np.allclose(np.abs(left.T @ rows / np.sqrt(len(rows) - 1)), np.eye(5), atol=1e-3)


def test_large_pictures_are_pooled(digits: tuple[Images, NDArray[np.int64]]) -> None:
    large = digits[0][:60].repeat(5, axis=2).repeat(5, axis=3)
    code = ContentCode.fit(large, 8, "pixels", 3)
    assert code.shape == (1, 80, 80)
    assert code.content.side == 40
    assert code.encode(large).shape == (60, 3)


def test_sixteen_bits_are_the_same_pictures(digits: tuple[Images, NDArray[np.int64]]) -> None:
    images = digits[0][:100]
    deep = images.astype(np.uint16) * 257
    eight, sixteen = ContentCode.fit(images, 8, "pixels", 3), ContentCode.fit(deep, 16, "pixels", 3)
    assert sixteen.bits == 16
    assert np.allclose(np.abs(sixteen.encode(deep)), np.abs(eight.encode(images)), atol=1e-4)


@pytest.mark.parametrize("kind", ["pixels", "vae", "invariant"])
def test_unknown_options_are_refused(digits: tuple[Images, NDArray[np.int64]], kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} must be fitted .*, got depth"):
        ContentCode.fit(digits[0][:40], 8, kind, 2, depth=3)


def test_one_invariant_number_is_enough(digits: tuple[Images, NDArray[np.int64]]) -> None:
    one = ContentCode.fit(digits[0][:60], 8, "invariant", 1, epochs=1, width=4)
    assert one.encode(digits[0][:5]).shape == (5, 1)


def test_more_numbers_than_features_are_refused(digits: tuple[Images, NDArray[np.int64]]) -> None:
    with pytest.raises(ValueError, match="keep must be at most 128 for invariant, got 129"):
        ContentCode.fit(digits[0][:40], 8, "invariant", 129, epochs=1)
    with pytest.raises(ValueError, match="keep must be at most 40 for so few pictures, got 41"):
        ContentCode.fit(digits[0][:40], 8, "pixels", 41)


def test_an_unknown_content_is_refused(digits: tuple[Images, NDArray[np.int64]]) -> None:
    with pytest.raises(ValueError, match=r"content must be one of .*, got 'eigenfaces'"):
        ContentCode.fit(digits[0][:40], 8, "eigenfaces", 2)


@pytest.mark.parametrize("content", [Pixels(1, 12), VaeMean(1, 12, 4), Invariant(1, 12, 4), Invariant(3, 20, 4)])
def test_sizes_build_the_network_again(content: Pixels | VaeMean | Invariant) -> None:
    twin = type(content)(**content.sizes())
    twin.load_state_dict(content.state_dict())
    pictures = torch.rand(3, content.sizes()["channels"], content.side, content.side)
    with torch.no_grad():
        assert torch.equal(twin.eval()(pictures), content.eval()(pictures))


@pytest.mark.parametrize("kind", ["vae", "invariant"])
def test_epochs_are_told(digits: tuple[Images, NDArray[np.int64]], kind: str) -> None:
    told: list[tuple[int, int]] = []
    ContentCode.fit(digits[0][:64], 8, kind, 2, epochs=2, width=4, on_epoch=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_first_keeps_the_renderer_of_its_numbers(vae: ContentCode) -> None:
    assert torch.equal(vae.first(3).renderer, vae.renderer[:3])
