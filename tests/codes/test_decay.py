"""Later numbers of a code may weigh less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from veilray.codes import ContentCode, choose_keep, load_code, save_code
from veilray.codes.choice import decayed
from veilray.privacy import Claim
from veilray.privacy.mechanisms.directional import Directional


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return (load_digits().data[:400].reshape(-1, 1, 8, 8) * 15).astype(np.uint8)


@pytest.fixture(scope="module")
def nested(images: np.ndarray) -> ContentCode:
    return ContentCode.fit(images, 8, "pixels", 8)


def test_weights_fall_from_one() -> None:
    np.testing.assert_allclose(decayed(3, 1.0), [1, 1 / np.sqrt(2), 1 / np.sqrt(3)])
    np.testing.assert_array_equal(decayed(3, None), np.ones(3))


def test_a_decay_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="decay must be above 0, got 0"):
        decayed(3, 0)


def test_a_decayed_code_is_the_code_times_its_weights(nested: ContentCode, images: np.ndarray) -> None:
    code = nested.first(5, 2.0)
    np.testing.assert_allclose(code.encode(images), nested.encode(images)[:, :5] * decayed(5, 2.0), atol=1e-9)
    np.testing.assert_allclose(code.encode(images).std(axis=0, ddof=1), code.scale.numpy(), rtol=1e-6)


def test_the_public_law_is_scaled_with_it(nested: ContentCode) -> None:
    plain, scaled = nested.first(5).reference, nested.first(5, 2.0).reference
    weights = decayed(5, 2.0)
    rows = np.random.default_rng(0).standard_normal((20, 5))
    expected = plain.log_density(rows) - np.log(weights).sum()
    np.testing.assert_allclose(scaled.log_density(rows * weights), expected, rtol=1e-9)


def test_the_renderer_undoes_the_weights(nested: ContentCode, images: np.ndarray) -> None:
    plain, code = nested.first(5), nested.first(5, 2.0)
    rebuilt = code.encode(images[:3]) @ code.renderer.double().numpy()
    np.testing.assert_allclose(rebuilt, plain.encode(images[:3]) @ plain.renderer.double().numpy(), atol=1e-3)


def test_it_is_saved_with_its_scale(nested: ContentCode, tmp_path: Path) -> None:
    code = nested.first(5, 2.0)
    save_code(code, tmp_path)
    found = load_code(tmp_path)
    assert isinstance(found, ContentCode)
    np.testing.assert_array_equal(found.scale.numpy(), code.scale.numpy())


def test_a_decay_is_chosen_where_first_numbers_matter_most() -> None:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((2000, 16))
    tasks = [(codes[:, 0] + 0.5 * codes[:, 1] > 0).astype(np.int64)]
    choice = choose_keep(codes, tasks, lambda k: Directional.calibrate(Claim.of(2), k), (16,), decays=(None, 1.0))
    assert choice.decay == 1.0
