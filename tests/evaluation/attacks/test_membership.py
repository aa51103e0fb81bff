"""Membership: a flow that remembers is caught, halves of strangers are not told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from veilray.evaluation.attacks import Membership, Memberships, MembershipScores, likelihood_scores, membership
from veilray.flows import FlowTraining, Glow, GlowConfig, train
from veilray.methods.domain import complexity


def normal(shift: float, members: int = 400, others: int = 400, seed: int = 0) -> MembershipScores:
    rng = np.random.default_rng(seed)
    return MembershipScores(rng.normal(shift, 1, members), rng.normal(0, 1, others))


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, MembershipScores]:
    """Scores, plain and calibrated, of a small flow that has seen 48 digits 40 times."""
    images = (load_digits().data.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
    seen, unseen = images[:48], images[500:700]
    flow = Glow(GlowConfig(size=8, levels=2, steps=2, width=32))
    config = FlowTraining(epochs=40, batch_size=16, learning_rate=4e-3, ema_decay=0.5, patience=None)
    train(flow, seen, seen, config, Path(tmp_path_factory.mktemp("remembered")))
    return {
        calibrated: MembershipScores(
            *(likelihood_scores(flow.bits_per_dimension, part, calibrated=calibrated) for part in (seen, unseen))
        )
        for calibrated in (False, True)
    }


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_flow_that_remembers_is_caught(calibrated: bool, remembered: dict[bool, MembershipScores]) -> None:
    scores = remembered[calibrated]
    found = membership(scores.members, scores.others, resamples=200)
    assert found.auc.low > 0.8
    assert found.true_positive_rate.value > 0.1


def test_the_controls_end_the_scale(remembered: dict[bool, MembershipScores]) -> None:
    result = Membership(resamples=200).run(Memberships(normal(0.5), remembered[True]), rng())
    assert result.negative.value == pytest.approx(0.5, abs=0.01)
    assert result.negative.high - result.negative.low == pytest.approx(4 * 0.029, abs=0.03)  # of 200 against 200
    assert result.has_power
    assert 0 < (result.scaled or 0) < 1
    assert (result.line, result.verdict) == (None, "no line")


def test_a_flow_that_remembers_nothing_is_at_chance() -> None:
    found = membership(normal(0, 2000, 2000).members, normal(0, 2000, 2000).others, resamples=200)
    assert found.auc.low < 0.5 < found.auc.high
    assert found.true_positive_rate.value == pytest.approx(0.01, abs=0.01)


def test_found_members_follow_the_normal_curve() -> None:
    scores = normal(2, 4000, 4000)
    result = Membership("true_positive_rate", resamples=20).run(Memberships(scores, scores), rng())
    assert result.released.value == pytest.approx(0.372, abs=0.04)  # of a shift by 2 beyond 2.326
    assert result.negative.value < 0.03


def test_a_control_without_memory_has_no_power() -> None:
    assert Membership(resamples=200).run(Memberships(normal(1), normal(0)), rng()).verdict == "no power"


def test_halves_share_no_patient() -> None:
    patients = np.arange(400) // 4
    scores = replace(normal(0), member_patients=patients + 1000, other_patients=patients)
    halves = scores.halved(rng())
    assert halves.member_patients is not None
    assert len(np.unique(halves.member_patients)) == 50
    assert sorted([*halves.members, *halves.others]) == sorted(scores.others)


def test_patients_widen_the_interval() -> None:
    scores = normal(0.5, 100, 100)
    members, others = np.repeat(scores.members, 8), np.repeat(scores.others, 8)
    keys = np.arange(800) // 8
    alone = membership(members, others, resamples=300).auc
    grouped = membership(members, others, keys, keys + 100, resamples=300).auc
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_calibration_takes_off_what_a_picture_costs() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)
    images[:3] = 7
    plain = likelihood_scores(complexity, images, calibrated=False)
    assert plain[:3].min() > plain[3:].max()
    assert np.array_equal(likelihood_scores(complexity, images), np.zeros(6))


def test_poor_scores_are_refused() -> None:
    good = normal(0)
    with pytest.raises(ValueError, match="others must be of other patients than members, got 400 on both sides"):
        replace(good, member_patients=np.arange(400), other_patients=np.arange(400))
    with pytest.raises(ValueError, match="of both members and others, or of none"):
        replace(good, member_patients=np.arange(400))
    with pytest.raises(ValueError, match="members must be 2 finite scores or more"):
        replace(good, members=np.array([0.0, np.inf]))
    with pytest.raises(ValueError, match=r"others must be 100 or more for 0\.01 false alarms, got 99"):
        membership(good.members, good.others[:99])
    with pytest.raises(ValueError, match="one figure for each of 6 images"):
        likelihood_scores(lambda images: np.zeros(2), np.zeros((6, 1, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match="figure must be auc or true_positive_rate"):
        Membership("rank")  # type: ignore[arg-type]
