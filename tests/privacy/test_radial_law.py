"""Whatever the mechanism does to lengths, the decoder sees its prior."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from veilray.privacy import MECHANISMS, Claim, SeededEntropy
from veilray.privacy.radial_law import to_normal_length
from veilray.privacy.samplers.normal import normals


def _normal_rows(count: int, dimension: int) -> np.ndarray:
    return normals(SeededEntropy("rows").words((count, dimension), np.uint64))


@pytest.mark.parametrize("epsilon", ["1", "4", "8"])
@pytest.mark.parametrize("k", [1, 2, 12])
def test_the_release_of_a_normal_source_becomes_normal(k: int, epsilon: str) -> None:
    mechanism = MECHANISMS["directional"].calibrate(Claim.of(epsilon), k)
    drawn = mechanism.release(_normal_rows(20_000, k), SeededEntropy(1))
    brought = mechanism.to_prior_law(drawn)
    assert max(kstest(brought[:, j], "norm").statistic for j in range(k)) < 0.016  # .0163: 5e-5 of true normals
    cosines = (drawn * brought).sum(1) / np.linalg.norm(drawn, axis=1) / np.linalg.norm(brought, axis=1)
    assert np.allclose(cosines, 1)


def test_without_the_map_one_number_at_epsilon_4_is_far_from_normal() -> None:
    mechanism = MECHANISMS["directional"].calibrate(Claim.of(4), 1)
    drawn = mechanism.to_prior(mechanism.release(_normal_rows(20_000, 1), SeededEntropy(1)))
    assert kstest(drawn[:, 0], "norm").statistic > 0.05


def test_blocks_are_brought_back_one_by_one() -> None:
    mechanism = MECHANISMS["blockwise"].calibrate(Claim.of(4), 5, of="directional", sizes="1,2,2", shares="2,2,0")
    drawn = mechanism.release(_normal_rows(20_000, 5), SeededEntropy(1))
    brought = mechanism.to_prior_law(drawn)
    assert np.array_equal(brought[:, 3:], drawn[:, 3:])
    assert max(kstest(brought[:, j], "norm").statistic for j in range(5)) < 0.016


def test_lengths_far_outside_stay_in_order_and_zero_stays_zero() -> None:
    lengths = np.array([0.0, 1.0, 10.0, 100.0, 1e6])
    brought = to_normal_length(lengths, 3, 1.5, 2.0, -1.0)
    assert brought[0] == 0 and (np.diff(brought) > 0).all() and np.isfinite(brought).all()
