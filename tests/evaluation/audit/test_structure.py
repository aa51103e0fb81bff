"""The parts of the audit: what is counted, what a refusal does, what each statistic sees."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from veilray.evaluation.audit import STATISTICS, STRUCTURE, Limit, Pair, Subject, audit, calibrated, subject_of
from veilray.evaluation.audit.counting import CountingEntropy
from veilray.evaluation.audit.gallery import SoundLaplace
from veilray.privacy import Claim, Entropy, SeededEntropy
from veilray.privacy.mechanisms.base import Floats


def test_every_byte_is_counted_whoever_asks() -> None:
    counting = CountingEntropy(1)
    counting.words((3, 2), np.uint32)
    counting.row(5).bytes(7)
    streams, branches = counting.streams(), counting.branches(2)
    before = counting.tally.bytes
    streams.fill(0, np.empty((2, 3, 4), np.uint16))
    streams.more(np.array([0, 0, 1]))
    branches[1].bytes(11)
    assert counting.tally.bytes - before == 48 + 24 + 11
    assert before >= 24 + 7


@pytest.mark.parametrize("name", ["laplace", "blockwise"])
def test_counting_changes_nothing_that_is_drawn(name: str) -> None:
    mechanism = calibrated(name, Claim.of("1"), 5)
    rows = np.random.default_rng(1).normal(size=(4, 5))
    plain = mechanism.release(rows, SeededEntropy(3))
    assert np.array_equal(mechanism.release(rows, CountingEntropy(3)), plain)


def _told_apart(released: Floats, first: np.ndarray, statistic: str) -> float:
    pair = Pair("made", np.zeros((1, 2)), np.ones((1, 2)), Limit("epsilon", 1.0), "joint")
    score = STATISTICS[statistic](SoundLaplace().subject(), pair, released[::2], first[::2])
    assert score is not None
    return float(np.mean((score(released[1::2]) >= 0) == first[1::2]))


def test_the_quadratic_statistic_sees_a_covariance_without_a_mean() -> None:
    rng = np.random.default_rng(2)
    first = rng.random(4000) < 0.5
    shared = rng.normal(size=(4000, 1))
    released = np.where(first[:, None], shared * [1, 1], shared * [1, -1]) + 0.1 * rng.normal(size=(4000, 2))
    assert _told_apart(released, first, "quadratic") > 0.9
    assert _told_apart(released, first, "projection") < 0.6


def test_values_and_lattice_see_what_no_moment_shows() -> None:
    rng = np.random.default_rng(3)
    first = rng.random(4000) < 0.5
    whole = rng.integers(-4, 5, size=(4000, 2)).astype(float)
    released = np.where(first[:, None], whole, whole + np.where(rng.random((4000, 2)) < 0.5, 0.5, -0.5))
    assert _told_apart(released, first, "values") > 0.99
    assert _told_apart(released, first, "lattice") > 0.99


def test_a_refusal_ends_no_audit_and_fails_it() -> None:
    sound = SoundLaplace()

    def release(rows: Floats, entropy: Entropy) -> Floats:
        if (rows == 0).all(axis=1).any():
            raise ValueError("latent must not be zero")
        return sound.release(rows, entropy)

    report = audit(replace(sound.subject(), release=release), 1000, SeededEntropy(1))
    assert {"zero against far / refused", "unusual rows are released"} <= {c.test for c in report.failures}


@pytest.mark.parametrize(
    ("test", "release"),
    [
        ("all randomness from the entropy", lambda rows, e: rows + np.random.default_rng().normal(size=rows.shape)),
        ("batch independence", lambda rows, e: np.nan_to_num(rows).clip(-3, 3).mean(axis=0) + _noise(rows, e)),
        ("two releases differ", lambda rows, e: np.nan_to_num(rows).clip(-3, 3)),
        ("noise has full rank", lambda rows, e: np.nan_to_num(rows).clip(-3, 3) + _noise(rows, e)[:, :1]),
        ("unusual rows are released", lambda rows, e: rows + _noise(rows, e)),
    ],
)
def test_each_rule_is_broken_by_its_own_fault(test: str, release: object) -> None:
    subject: Subject = replace(SoundLaplace().subject(), release=release)
    with np.errstate(all="ignore"):
        assert STRUCTURE[test](subject)
    assert not STRUCTURE[test](SoundLaplace().subject())


def _noise(rows: Floats, entropy: Entropy) -> Floats:
    return entropy.words(rows.shape, np.uint32) / 2.0**32


def test_a_likelihood_beyond_the_claim_is_seen() -> None:
    honest = subject_of(calibrated("laplace", Claim.of("4"), 4))
    claimed_less = replace(honest, pairs=tuple(replace(p, limit=Limit("epsilon", 1.0)) for p in honest.pairs))
    assert "times the claim" in STRUCTURE["equal support"](claimed_less)


def test_a_report_is_plain_json() -> None:
    report = audit(subject_of(calibrated("gaussian", Claim.of("1", "1e-5"), 2)), 1000, SeededEntropy(1))
    told = json.loads(json.dumps(report.to_dict()))
    assert told["passed"] is True
    assert {check["verdict"] for check in told["checks"]} == {"pass"}
    assert told["checks"][0]["limit"]["kind"] == "mu"
    assert report.sharpest is not None
