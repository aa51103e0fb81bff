"""The reservation journal: charged before drawn, committed once, durable, private."""

from __future__ import annotations

import stat
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from veilray.errors import Refused
from veilray.ledger import Budget, Journal, ReleaseState, default_ledger
from veilray.privacy import MECHANISMS, Claim
from veilray.privacy.guarantee import Bound, Guarantee


def claim(epsilon: str = "4") -> Guarantee:
    return Guarantee(
        unit="image",
        epsilon=Fraction(epsilon),
        image_epsilon=Fraction(epsilon),
        bound=Bound(kind="box", radius=Fraction(3)),
        dimension=64,
        mechanism="laplace",
    )


def test_a_reservation_charges_each_patient_the_sum_of_their_images(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "ledger.sqlite")
    journal.reserve("a", claim("1/3"), {"p1": 1, "p2": 30})
    journal.reserve("b", claim("1/3"), {"p2": 1})
    assert journal.spent("p2") == Fraction(31, 3)
    assert journal.spent("p1") == Fraction(1, 3)
    assert journal.spent("nobody") == 0
    assert journal.patients() == 2


def test_a_reservation_survives_a_new_process(tmp_path: Path) -> None:
    Journal(tmp_path / "l.sqlite").reserve("a", claim(), {"p": 2})
    row = Journal(tmp_path / "l.sqlite").release("a")
    assert row.state is ReleaseState.RESERVED
    assert row.guarantee == claim()


def test_a_release_goes_forward_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    journal.reserve("a", claim(), {})
    with pytest.raises(Refused, match="committed before"):
        journal.publish("a")
    journal.commit("a", "digest")
    journal.commit("a", "digest")
    with pytest.raises(Refused, match="other bytes"):
        journal.commit("a", "another")
    journal.publish("a")
    with pytest.raises(Refused, match="other bytes"):
        journal.commit("a", "another")
    assert journal.release("a").state is ReleaseState.PUBLISHED
    assert [row.identifier for row in journal.releases()] == ["a"]


def test_an_identifier_is_used_once_and_a_refused_reservation_charges_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    journal.reserve("a", claim(), {"p": 1})
    with pytest.raises(Refused, match="must be new"):
        journal.reserve("a", claim(), {"q": 1})
    assert journal.spent("q") == 0


def test_an_unknown_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="must be in the ledger"):
        Journal(tmp_path / "l.sqlite").release("nothing")


def test_the_journal_is_private_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.sqlite"
    Journal(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(ValueError, match="ledger must be a SQLite file of veilray"):
        Journal(path)


def test_two_processes_reserve_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fractions import Fraction\n"
        "from veilray.ledger import Journal; from veilray.privacy.guarantee import *\n"
        "g = Guarantee(unit='image', epsilon=Fraction(1), image_epsilon=Fraction(1), dimension=1,\n"
        "    bound=Bound(kind='box', radius=Fraction(1)), mechanism='m')\n"
        "j = Journal(Path(sys.argv[1]))\n"
        "[j.reserve(sys.argv[2] + str(i), g, {'p': 1}) for i in range(10)]\n"
    )
    path = tmp_path / "l.sqlite"
    Journal(path)
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert Journal(path).spent("p") == 20


def test_the_environment_moves_the_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEILRAY_LEDGER", str(tmp_path / "there.sqlite"))
    assert default_ledger() == tmp_path / "there.sqlite"
    monkeypatch.delenv("VEILRAY_LEDGER")
    assert default_ledger().name == "ledger.sqlite"


def test_a_budget_refuses_what_would_take_any_patient_beyond_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    journal.set_budget(Budget(Fraction(10)))
    journal.reserve("a", claim("4"), {"p": 2, "q": 1})
    with pytest.raises(Refused, match="budget of a patient is epsilon 10, and this release would take one to 12"):
        journal.reserve("b", claim("4"), {"q": 1, "p": 1})
    assert journal.spent("q") == 4, "a refused release charges nobody"
    journal.reserve("c", claim("4"), {"q": 1})
    journal.reserve("d", claim("2"), {"p": 1})
    assert journal.spent("p") == 10


def test_a_budget_is_set_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    assert journal.budget is None
    budget = Budget(Fraction(3), Fraction(1, 10**6), "gdp")
    journal.set_budget(budget)
    assert Journal(tmp_path / "l.sqlite").budget == budget
    with pytest.raises(Refused, match="cannot be changed"):
        journal.set_budget(Budget(Fraction(100)))


def test_under_a_budget_every_image_needs_a_patient_key(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    journal.reserve("before", claim("1"), {}, unidentified=5)
    journal.set_budget(Budget(Fraction(3)))
    with pytest.raises(Refused, match="patient key must be given for every image under a budget, got 2 images"):
        journal.reserve("a", claim("1"), {"p": 1}, unidentified=2)
    assert journal.spent("p") == 0


def test_a_blank_beside_a_key_is_no_new_patient(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    journal.set_budget(Budget(Fraction(3)))
    journal.reserve("a", claim("1"), {"p": 1, "p ": 1})
    assert journal.spent(" p") == 2
    with pytest.raises(Refused, match="budget"):
        journal.reserve("b", claim("2"), {" p": 1})


def test_gaussian_releases_fit_better_under_gdp_than_under_the_sum(tmp_path: Path) -> None:
    gaussian = MECHANISMS["gaussian"].calibrate(Claim.of("1", "1e-6"), 8).guarantee(8)
    fitted = {}
    for accounting, delta in (("sum", "1/10000"), ("gdp", "1/1000000")):
        journal = Journal(tmp_path / f"{accounting}.sqlite")
        journal.set_budget(Budget(Fraction(6), Fraction(delta), accounting))
        fitted[accounting] = 0
        for release in range(40):
            try:
                journal.reserve(str(release), gaussian, {"p": 1})
            except Refused:
                break
            fitted[accounting] += 1
    assert fitted["sum"] == 6
    assert fitted["gdp"] > 20  # 20 such releases read 5.214 at 1e-6 (Balle and Wang 2018)


@pytest.mark.parametrize(
    ("epsilon", "delta", "accounting", "message"),
    [
        ("0", "0", "sum", "above 0"),
        ("1", "1", "sum", "delta"),
        ("1", "0", "gdp", "above 0"),
        ("1", "0", "x", "sum or gdp"),
    ],
)
def test_budgets_that_mean_nothing_are_refused(epsilon: str, delta: str, accounting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(Fraction(epsilon), Fraction(delta), accounting)  # type: ignore[arg-type]


def test_two_processes_cannot_both_take_what_is_left(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fractions import Fraction\n"
        "from veilray.errors import Refused; from veilray.ledger import Journal\n"
        "from veilray.privacy.guarantee import *\n"
        "g = Guarantee(unit='image', epsilon=Fraction(1), image_epsilon=Fraction(1), dimension=1,\n"
        "    bound=Bound(kind='box', radius=Fraction(1)), mechanism='m')\n"
        "j = Journal(Path(sys.argv[1]))\n"
        "for i in range(20):\n"
        "    try: j.reserve(sys.argv[2] + str(i), g, {'p': 1})\n"
        "    except Refused: pass\n"
    )
    path = tmp_path / "l.sqlite"
    Journal(path).set_budget(Budget(Fraction(15)))
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert Journal(path).spent("p") == 15
