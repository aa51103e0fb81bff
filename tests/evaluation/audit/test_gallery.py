"""Every broken build is failed, by the test that is meant to find it."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import veilray
from veilray.evaluation.audit import audit
from veilray.evaluation.audit.gallery import GALLERY, BatchMatrixClip
from veilray.privacy import SeededEntropy
from veilray.privacy.calibration import gaussian_mu


@pytest.mark.parametrize("name", list(GALLERY))
def test_a_broken_build_is_failed_by_name(name: str) -> None:
    entry = GALLERY[name]
    report = audit(entry.build(), entry.trials, SeededEntropy("gallery"))
    failed = {check.test for check in report.failures}
    assert not report.passed
    assert set(entry.caught_by) <= failed, f"{entry.story}: expected {entry.caught_by}, failed by {sorted(failed)}"


def test_the_gallery_is_whole() -> None:
    """Sixteen kinds of fault, and four more: blocks that each spend the whole claim (pure and Gaussian), a block that
    is kept, and bounds of a number that are read from the records."""
    assert len(GALLERY) == 20
    assert all(GALLERY[name].story.endswith(".") for name in GALLERY)


def test_marginal_tests_alone_pass_shared_noise() -> None:
    """Why joint tests exist: each element of an infinitely leaking build looks right."""
    for name in ("pair-shared noise", "coupled rows"):
        report = audit(GALLERY[name].build(), 10_000, SeededEntropy("marginal"))
        assert all(check.passed for check in report.checks if check.test == "each element")
        assert not all(check.passed for check in report.checks if check.family == "joint")


def test_blocks_that_overspend_look_right_one_by_one() -> None:
    """Inputs that differ in one block stay within the claim; those that differ in both show twice the claim."""
    report = audit(GALLERY["whole epsilon in each block"].build(), 100_000, SeededEntropy("blocks"))
    found = {check.test: check for check in report.checks}
    assert found["one axis / likelihood"].passed
    worst = found["worst case / likelihood"]
    assert worst.limit is not None
    assert worst.limit.value == 2
    assert 3.7 < (worst.shown or 0) <= 4.05


def test_gaussian_blocks_that_overspend_are_held_to_the_claim_and_not_to_their_own_mu() -> None:
    """The build states its mu^2 truly, twice what the claim allows: a limit taken from it would pass the build."""
    subject = GALLERY["whole claim in each gaussian block"].build()
    assert subject.limit.kind == "mu"
    assert subject.limit.value == pytest.approx(float(gaussian_mu(Fraction(2), Fraction("1e-5"))))
    worst = next(c for c in audit(subject, 30_000, SeededEntropy("mu")).checks if c.test == "worst case / likelihood")
    assert 1.25 < (worst.share or 0) < 2**0.5 * 1.03


def test_a_kept_block_hides_from_its_own_likelihood() -> None:
    """The claimed likelihood knows nothing of a block without a share; every test that looks at the release does."""
    report = audit(GALLERY["kept block"].build(), 10_000, SeededEntropy("kept"))
    scored = [check for check in report.checks if check.limit is not None]
    assert all(check.passed for check in scored if check.test.endswith("likelihood"))
    assert not any(check.passed for check in scored if check.test.endswith("projection") and "axis" not in check.test)


def test_the_published_batch_clip_leaks_what_its_bound_says() -> None:
    broken = BatchMatrixClip()
    report = audit(broken.subject("batch-matrix clip"), 100_000, SeededEntropy("CADP"))
    worst = next(check for check in report.checks if check.test == "worst case / likelihood")
    assert broken.true_epsilon == 4.0
    assert worst.limit is not None
    assert worst.limit.value == 0.25
    assert 3.0 < (worst.shown or 0) <= broken.true_epsilon


def test_a_release_never_loads_the_gallery() -> None:
    source = Path(veilray.__file__).parent
    users = [path for path in source.rglob("*.py") if "audit.gallery" in path.read_text()]
    assert all(path.is_relative_to(source / "evaluation" / "audit" / "gallery") for path in users)
    code = "import sys, veilray.api, veilray.cli.main, veilray.evaluation.audit; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [module for module in loaded if "gallery" in module and module.startswith("veilray")]
