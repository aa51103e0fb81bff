"""Linkage: honest mechanisms stay below their line, broken ones do not, and ties are not hits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from veilray.evaluation.attacks import Linkage
from veilray.evaluation.attacks.linkage import rank_one
from veilray.evaluation.lines import reidentification
from veilray.privacy import MECHANISMS

QUICK = Linkage(gallery=50, rounds=2, resamples=200)


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("name", list(MECHANISMS))
def test_an_honest_mechanism_stays_within_its_line(name, make_codes, make_mechanism):
    result = QUICK.run(make_codes(make_mechanism(name, "4")), rng())
    assert result.verdict == "within the line"
    assert result.released.low <= result.line
    assert result.negative.value == pytest.approx(1 / 50, abs=0.012)


@pytest.mark.parametrize("name", ["directional", "codebook"])
def test_more_is_found_than_by_chance(name, make_codes, make_mechanism):
    result = QUICK.run(make_codes(make_mechanism(name, "4")), rng())
    assert result.released.low > 2 * result.negative.high
    assert 0 < result.scaled < 1


def test_a_mechanism_that_spends_more_than_it_claims_is_caught(make_codes, make_mechanism):
    broken = replace(
        make_codes(make_mechanism("directional", "8")), guarantee=make_mechanism("directional", "2").guarantee(8)
    )
    result = QUICK.run(broken, rng())
    assert result.line == pytest.approx(reidentification(2, 50))
    assert result.verdict == "above the line"


def test_raw_codes_are_found_every_time(make_codes, make_mechanism):
    result = QUICK.run(make_codes(make_mechanism("laplace", "1")), rng())
    assert (result.positive.value, result.positive.low) == (1, 1)


def test_a_strong_mechanism_takes_the_same_path(make_codes, make_mechanism):
    target = replace(make_codes(make_mechanism("directional", "1")), strong=make_mechanism("directional", "48"))
    result = QUICK.run(target, rng())
    assert result.has_power
    assert 0.6 < result.positive.value < 1


def test_several_releases_are_put_together_against_their_sum(make_codes, make_mechanism):
    one, four = (
        QUICK.run(make_codes(make_mechanism("directional", "2"), 400, 1, releases), rng()) for releases in (1, 4)
    )
    assert four.releases_per_target == 4
    assert four.line == pytest.approx(reidentification(8, 50))
    assert four.released.low > one.released.high
    assert not four.breaks_the_line


def test_equal_explanations_share_the_guess() -> None:
    found = rank_one(np.array([[2.0, 2.0, 1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-np.inf, -np.inf, -np.inf]]))
    third = [1 / 3] * 3
    np.testing.assert_allclose(found, [[0.5, 0.5, 0], third, [0, 0, 1], third])


def test_identical_records_cannot_be_told_apart(make_codes, make_mechanism):
    target = make_codes(make_mechanism("directional", "8"), 200, 1)
    same = replace(target, latent=np.ones_like(target.latent))
    result = QUICK.run(same, rng())
    assert result.released.value == result.positive.value == pytest.approx(1 / 50)


def test_a_gallery_holds_one_record_a_patient(make_codes, make_mechanism):
    target = make_codes(make_mechanism("directional", "8"), 400, 1)
    # Four copies of each of 100 patients: with two copies in a gallery rank-1 of raw codes would fall below 1.
    copies = replace(target, latent=np.repeat(target.latent[:100], 4, axis=0), patients=np.arange(400) // 4)
    assert QUICK.run(copies, rng()).positive.value == 1


def test_too_large_a_gallery_is_refused(make_codes, make_mechanism):
    target = make_codes(make_mechanism("laplace", "1"), 60, 1)
    with pytest.raises(ValueError, match="gallery must be at most 60, the most patients of one label, got 100"):
        Linkage().run(target, rng())
    with pytest.raises(ValueError, match="gallery must be at least 2"):
        Linkage(gallery=1)
