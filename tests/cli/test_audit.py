"""`veilray audit` as a user meets it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "object"]


def test_a_sound_mechanism_passes_and_shows_the_table(veilray: Run) -> None:
    ran = veilray("audit", "--mechanism", "laplace", "--epsilon", "1", "--unit", "element", "--trials", 2000)
    assert ran.code == 0, ran.err
    assert "each element" in ran.out
    assert "certified at 99 %" in ran.out
    assert "batch independence" in ran.out
    assert "passed: no test refutes the claim" in ran.out


def test_the_end_says_what_was_certified_of_what_and_what_passed_means(veilray: Run) -> None:
    ran = veilray("audit", "--mechanism", "laplace", "--epsilon", "1", "--trials", 5000)
    said = re.search(
        r'certified: (\S+) % of the claim. From ([\d,]+) trials "([^"]+)" proves epsilon (\S+) or more for its pair of '
        r"inputs, where (\S+) is claimed, at 99 % confidence",
        ran.out,
    )
    assert said is not None, ran.out
    share, certified, claimed = (float(said[group]) for group in (1, 4, 5))
    assert share == pytest.approx(100 * certified / claimed, abs=0.1)
    assert said[3] in ran.out.partition("certified: ")[0], "the attack is in the table"
    assert "epsilon 1 is claimed for a whole image" in ran.out
    assert "An audit can refute a claim; it cannot prove one" in ran.out


def test_nothing_certified_is_said_in_words(monkeypatch: pytest.MonkeyPatch, veilray: Run) -> None:
    from veilray.evaluation.audit import Check, Limit, Report, run

    blind = Check("worst case / values", "joint", "x", True, 2000, Limit("mu", 0.25), 0.0, 0.0, 0.99)
    monkeypatch.setattr(run, "audit", lambda *_, **__: Report("laplace", 8, (blind,)))
    ran = veilray("audit", "--mechanism", "laplace", "--epsilon", "1")
    assert "certified: nothing. No attack is better than chance at 99 % confidence, where mu" in ran.out
    assert "certified: 0 %" not in ran.out


def test_the_table_has_one_line_a_pair_and_every_failure(monkeypatch: pytest.MonkeyPatch, veilray: Run) -> None:
    from veilray.evaluation.audit import Check, Limit, Report, run

    limit = Limit("epsilon", 1.0)
    checks = (
        Check("worst case / values", "joint", "x", True, 2000, limit, 0.1, 0.0, 0.99),
        Check("worst case / likelihood", "joint", "x", True, 2000, limit, 0.5, 0.0, 0.99),
        Check("worst case / lattice", "joint", "x", False, 2000, limit, 0.4, 2.0, 0.99),
    )
    monkeypatch.setattr(run, "audit", lambda *_, **__: Report("laplace", 8, checks))
    ran = veilray("audit", "--mechanism", "laplace", "--epsilon", "1")
    assert ran.code == 1
    assert "worst case / likelihood" in ran.out
    assert "FAILED: the claim is refuted by worst case / lattice" in ran.out
    assert "worst case / values" not in ran.out


def test_json_holds_every_check(veilray: Run) -> None:
    arguments = ("--mechanism", "gaussian", "--epsilon", "1/3", "--delta", "1e-6", "--dimension", 3, "--trials", 1000)
    told = json.loads(veilray("audit", *arguments, "--json").out)
    assert told["claim"] == {"epsilon": "1/3", "delta": "1/1000000", "unit": "image", "trials": 1000}
    assert told["passed"] is True
    assert told["reports"][0]["dimension"] == 3
    assert {"marginal", "joint", "structural"} == {check["family"] for check in told["reports"][0]["checks"]}


def test_a_model_is_audited_on_its_latent_and_through_the_file(veilray: Run, model: Path) -> None:
    ran = veilray("audit", "--model", model, "--epsilon", "4", "--unit", "element", "--trials", 1000, "--json")
    assert ran.code == 0, ran.out + ran.err
    latent, seen = json.loads(ran.out)["reports"]
    assert (latent["subject"], seen["subject"]) == ("laplace", "laplace through the file")
    assert latent["dimension"] == 256

    for report in (latent, seen):
        each = next(check for check in report["checks"] if check["test"] == "each element")
        assert each["shown"] > 0
        assert each["decided"] <= 4
    assert not [check for check in seen["checks"] if check["test"].endswith("likelihood")]


def test_a_failed_check_is_exit_code_1(veilray: Run, monkeypatch: object) -> None:
    from veilray.evaluation.audit import run
    from veilray.evaluation.audit.gallery import GALLERY

    broken = GALLERY["halved scale"].build()
    monkeypatch.setattr(run, "subject_of", lambda *_: broken)
    ran = veilray("audit", "--mechanism", "laplace", "--epsilon", "1", "--trials", 5000)
    assert ran.code == 1
    assert "FAILED" in ran.out


def test_wrong_use_is_told_with_its_cure(veilray: Run, model: Path) -> None:
    for arguments, told in (
        (("--epsilon", "1"), "--mechanism or --model must be given"),
        (("--epsilon", "1", "--mechanism", "nothing"), "mechanism must be one of"),
        (("--epsilon", "1", "--mechanism", "gaussian"), "delta must be above 0"),
        (("--epsilon", "1", "--mechanism", "laplace", "--trials", "10"), "trials must be at least 1,000"),
        (("--epsilon", "1", "--model", model, "--dimension", "3"), "--dimension must be absent"),
    ):
        ran = veilray("audit", *arguments)
        assert ran.code == 2
        assert told in ran.err.replace("\n", " ")
        assert "Traceback" not in ran.err
