"""KID: by a plain double loop, unbiased where two sets have one law, and growing with their distance."""

from __future__ import annotations

import numpy as np
import pytest

from veilray.evaluation.similarity import KID_OWN_FEATURES, kid


def test_equals_a_double_loop() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))

    def mean_kernel(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return float(np.mean([(a[i] @ b[j] / 3 + 1) ** 3 for i, j in pairs]))

    expected = mean_kernel(real, real, True) + mean_kernel(generated, generated, True)
    assert kid(real, generated) == pytest.approx(expected - 2 * mean_kernel(real, generated, False))


def test_one_law_scatters_around_zero() -> None:
    rng = np.random.default_rng(1)
    found = [kid(rng.normal(size=(100, 8)), rng.normal(size=(100, 8))) for _ in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)
    assert 0.3 < np.mean(np.array(found) > 0) < 0.7


def test_grows_with_the_shift() -> None:
    rng = np.random.default_rng(2)
    real, generated = rng.normal(size=(400, 8)), rng.normal(size=(400, 8))
    found = [kid(real, generated + shift) for shift in (0, 0.5, 1, 2)]
    assert found == sorted(found)
    assert found[1] > 0.1


def test_is_never_named_fid() -> None:
    assert KID_OWN_FEATURES == "KID (own features)"


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="real and generated must be"):
        kid(np.zeros((3, 2)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="rows must be 2 or more"):
        kid(np.zeros((1, 2)), np.zeros((3, 2)))
