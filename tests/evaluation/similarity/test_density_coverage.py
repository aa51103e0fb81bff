"""Density and coverage: by hand, against the paper's own package, and moved by what they are about."""

from __future__ import annotations

import numpy as np
import pytest

from veilray.evaluation.similarity import density_coverage

RNG = np.random.default_rng(0)


def test_four_points_by_hand() -> None:
    real = np.array([[0.0], [1.0], [3.0], [10.0]])  # radii for k = 1: 1, 1, 2, 7
    generated = np.array([[0.5], [3.5]])
    found = density_coverage(real, generated, neighbours=1)
    # 0.5 lies in the balls of 0 and 1; 3.5 in those of 3 and 10.
    assert (found.density, found.coverage) == (4 / 2, 1.0)
    assert density_coverage(real, generated[:1], neighbours=1).coverage == 0.5


def test_one_law_has_density_one_and_nearly_full_coverage() -> None:
    found = density_coverage(RNG.normal(size=(1500, 16)), RNG.normal(size=(1500, 16)))
    assert found.density == pytest.approx(1, abs=0.08)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.03)


def test_another_law_is_far_away() -> None:
    found = density_coverage(RNG.normal(size=(500, 16)), RNG.normal(size=(500, 16)) + 8)
    assert (found.density, found.coverage) == (0, 0)


def test_one_repeated_image_covers_little_however_real() -> None:
    real = RNG.normal(size=(500, 16))
    middle = real[np.argmin((real**2).sum(axis=1))]
    found = density_coverage(real, np.repeat(middle[None], 500, axis=0) + 1e-6)
    assert found.density > 1
    assert found.coverage < 0.1


def test_agrees_with_the_package_of_the_paper() -> None:
    prdc = pytest.importorskip("prdc")
    real, generated = RNG.normal(size=(300, 10)), 1.3 * RNG.normal(size=(200, 10))
    theirs = prdc.compute_prdc(real, generated, nearest_k=5)
    ours = density_coverage(real, generated)
    assert (ours.density, ours.coverage) == pytest.approx((theirs["density"], theirs["coverage"]))


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (np.zeros((9, 3)), np.zeros((9, 4)), "real and generated must be"),
        (np.zeros((9, 3)), np.zeros((0, 3)), "real and generated must be"),
        (np.zeros((5, 3)), np.zeros((9, 3)), "neighbours must be between 1 and 4"),
        (np.full((9, 3), np.nan), np.zeros((9, 3)), "features must be finite"),
    ],
)
def test_rows_that_do_not_fit_are_refused(real: np.ndarray, generated: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        density_coverage(real, generated)
