"""The reservation journal: charged before drawn, committed once, durable, private."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import unicodedata
from fractions import Fraction
from pathlib import Path

import pytest

from veilray.errors import Refused
from veilray.ledger import Budget, Journal, ReleaseState
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


# Keys: one person, however the key is written, now or by an earlier version.


@pytest.mark.parametrize("written", ["7.0", " 7", "7\u00a0", "\ufeff7", "7"])
def test_every_spelling_of_a_key_is_charged_to_one_person(tmp_path: Path, written: str) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    journal.set_budget(Budget(Fraction(3)))
    journal.reserve("a", claim("1"), {"7": 1, written: 1} if written != "7" else {"7": 2})
    assert journal.spent(written) == journal.spent("7") == 2
    assert journal.patients() == 1
    with pytest.raises(Refused, match="would take one to 4"):
        journal.reserve("b", claim("2"), {written: 1})


def test_a_key_that_says_nothing_names_nobody(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    journal.set_budget(Budget(Fraction(3)))
    with pytest.raises(Refused, match="got 2 images without"):
        journal.reserve("a", claim("1"), {"\u200b": 2, "p": 1})
    assert journal.spent("") == 0


def earlier_version(path: Path, charges: dict[str, int]) -> None:
    """A ledger as earlier versions wrote it: no `out`, keys that are only trimmed."""
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE release (identifier VARCHAR NOT NULL PRIMARY KEY, created VARCHAR NOT NULL,"
            " state VARCHAR NOT NULL, guarantee VARCHAR NOT NULL, digest VARCHAR);"
            "CREATE TABLE charge (identifier VARCHAR NOT NULL REFERENCES release (identifier),"
            " patient VARCHAR NOT NULL, images INTEGER NOT NULL, epsilon VARCHAR NOT NULL, delta VARCHAR NOT NULL,"
            " PRIMARY KEY (identifier, patient));"
            "CREATE TABLE policy (identifier INTEGER NOT NULL PRIMARY KEY, epsilon VARCHAR NOT NULL,"
            " delta VARCHAR NOT NULL, accounting VARCHAR NOT NULL);"
            "INSERT INTO policy VALUES (1, '10', '0', 'sum');"
        )
        row = ("old", "2025-01-01T00:00:00+00:00", "published", claim("2").to_json(), "digest")
        database.execute("INSERT INTO release VALUES (?, ?, ?, ?, ?)", row)
        database.executemany(
            "INSERT INTO charge VALUES ('old', ?, ?, ?, '0')",
            [(patient, count, str(2 * count)) for patient, count in charges.items()],
        )


def test_what_an_earlier_version_charged_still_counts_for_the_same_person(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "M\u00fcller")
    path = tmp_path / "l.sqlite"
    earlier_version(path, {decomposed: 2, "7.0": 3, "7": 1, "p": 1})
    journal = Journal(path)
    assert journal.spent("M\u00fcller") == journal.spent(decomposed) == 4
    assert journal.spent("7") == journal.spent("7.0") == 8
    assert journal.patients() == 3
    with pytest.raises(Refused, match="would take one to 12"):
        journal.reserve("a", claim("4"), {"7": 1})
    with pytest.raises(Refused, match="would take one to 12"):
        journal.reserve("b", claim("8"), {"M\u00fcller": 1})
    journal.reserve("c", claim("2"), {"7.0": 1, "M\u00fcller": 3})
    assert journal.spent("7") == journal.spent("M\u00fcller") == 10


def test_a_ledger_of_an_earlier_version_opens_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    earlier_version(path, {"p": 1})
    for _ in range(2):  # the second time the column is there
        journal = Journal(path)
    journal.reserve("new", claim("1"), {"p": 1}, out=tmp_path / "release")
    assert [row.out for row in journal.releases()] == [None, str(tmp_path / "release")]
    with sqlite3.connect(path) as database:  # as an earlier version would write
        database.execute(
            "INSERT INTO release (identifier, created, state, guarantee, digest) "
            "SELECT 'back', created, 'reserved', guarantee, NULL FROM release WHERE identifier = 'old'"
        )
    assert len(Journal(path).releases()) == 3


def test_a_database_of_something_else_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE release (title VARCHAR)")
    with pytest.raises(ValueError, match=r"ledger must be a SQLite file of veilray, got .*: it holds other tables"):
        Journal(path)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT sql FROM sqlite_master").fetchall() == [
            ("CREATE TABLE release (title VARCHAR)",)
        ]
