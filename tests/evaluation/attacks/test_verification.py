"""Verification: as strong as theory says, never above its line, and blind without information."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from veilray.evaluation.attacks import Verification
from veilray.evaluation.lines import same_image_auc, verification_auc, verification_auc_mu
from veilray.privacy import MECHANISMS

QUICK = Verification(resamples=200)


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("name", list(MECHANISMS))
def test_an_honest_mechanism_stays_within_its_line(name, make_codes, make_mechanism):
    result = QUICK.run(make_codes(make_mechanism(name, "2")), rng())
    assert result.verdict == "within the line"
    assert result.released.low <= result.line
    assert result.negative.value == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("epsilon", "by_design"), [("0.5", 0.562), ("1", 0.622), ("2", 0.727), ("4", 0.863)])
def test_a_directional_release_shows_what_it_does_by_design(epsilon, by_design, make_codes, make_mechanism):
    mechanism = make_mechanism("directional", epsilon, 32)
    block = mechanism.blocks[0]
    assert same_image_auc(block.effective, block.q) == pytest.approx(by_design, abs=0.001)
    plain = Verification(references=0, resamples=50).run(make_codes(mechanism, 3000), rng())
    assert plain.released.value == pytest.approx(by_design, abs=0.02)


def test_references_make_the_attack_stronger(make_codes, make_mechanism):
    target = make_codes(make_mechanism("gaussian", "4"), 2000)
    plain, compared = (Verification(references=count, resamples=50).run(target, rng()) for count in (0, 100))
    assert compared.released.low > plain.released.high


def test_gaussian_noise_is_held_to_its_own_line(make_codes, make_mechanism):
    target = make_codes(make_mechanism("gaussian", "4"))
    assert QUICK.run(target, rng()).line == verification_auc_mu(target.claimed.mu) < verification_auc(4, 1e-5)


def test_a_mechanism_that_spends_more_than_it_claims_is_caught(make_codes, make_mechanism):
    broken = replace(
        make_codes(make_mechanism("directional", "8"), 2000), guarantee=make_mechanism("directional", "1").guarantee(8)
    )
    result = QUICK.run(broken, rng())
    assert result.line == verification_auc(1)
    assert result.verdict == "above the line"


def test_controls_end_the_scale(make_codes, make_mechanism):
    result = QUICK.run(make_codes(make_mechanism("directional", "1"), 600), rng())
    assert result.positive.value == 1
    assert result.negative.count == 6 * 600  # one own pair, five impostors
    assert 0.1 < result.scaled < 0.4


def test_identical_records_cannot_be_told_apart(make_codes, make_mechanism):
    target = make_codes(make_mechanism("directional", "8"), 200)
    result = QUICK.run(replace(target, latent=np.ones_like(target.latent)), rng())
    assert result.released.value == pytest.approx(0.5)


def test_impostors_are_other_patients(make_codes, make_mechanism):
    target = make_codes(make_mechanism("directional", "8"), 400, 1)
    copies = replace(target, latent=np.repeat(target.latent[:100], 4, axis=0), patients=np.arange(400) // 4)
    assert QUICK.run(copies, rng()).positive.value == 1  # a copy among the impostors would tie


def test_one_patient_is_too_few(make_codes, make_mechanism):
    target = replace(make_codes(make_mechanism("laplace", "1"), 50, 1), patients=np.zeros(50))
    with pytest.raises(ValueError, match="records must be of two patients or more"):
        QUICK.run(target, rng())
    with pytest.raises(ValueError, match="impostors must be at least 1"):
        Verification(impostors=0)
