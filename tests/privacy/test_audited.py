"""The audit figures on the card are those of the committed audit, of that very variant."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from veilray.privacy import MECHANISMS, Claim
from veilray.privacy.audited import AUDITED, Audited, Variant, audited_as, size_class, variant_of

AUDIT = Path(__file__).parents[2] / "docs" / "data" / "audit.csv"
WITHOUT_POWER = 0.1
"""Least share that says anything: of long rows and of many cells at once the worst ratio is too rare to be counted."""


@cache
def measured() -> dict[tuple[Variant, int], list[dict[str, str]]]:
    found = defaultdict(list)
    with AUDIT.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "mechanism":
                variant = Variant(row["subject"], row["unit"], row["bound"], row["form"], row["of"])
                found[variant, size_class(int(row["dimension"])) or 0].append(row)
    return dict(found)


def smallest(rows: list[dict[str, str]]) -> float:
    return min(float(row["share"]) for row in rows)


def test_the_table_holds_what_was_audited_and_nothing_else() -> None:
    assert set(AUDITED) == {key for key, rows in measured().items() if smallest(rows) >= WITHOUT_POWER}
    assert {variant.mechanism for variant, _ in AUDITED} == set(MECHANISMS)


@pytest.mark.parametrize("key", AUDITED, ids=lambda key: " ".join(map(str, key)) if isinstance(key, tuple) else "")
def test_the_card_shows_the_smallest_share_of_the_committed_audit(key: tuple[Variant, int]) -> None:
    rows, shown = measured()[key], AUDITED[key]
    assert sorted(row["claim"] for row in rows) == ["1", "1/2", "2", "4"]
    assert {row["verdict"] for row in rows} == {"pass"}
    assert Fraction(math.floor(1000 * Fraction(str(smallest(rows)))), 1000) == shown.share
    assert {int(row["trials a side"]) for row in rows} == {shown.trials}
    assert {int(row["dimension"]) for row in rows} == {shown.dimension}
    assert {row["of what"] for row in rows} == {shown.figure}


def audited(name: str, claim: Claim, dimension: int, **options: object) -> Audited | None:
    return audited_as(MECHANISMS[name].calibrate(claim, dimension, **options).guarantee(dimension))


def test_a_variant_is_looked_up_by_all_that_makes_it() -> None:
    plain = audited("directional", Claim.of(4), 8)
    sphere = audited("directional", Claim.of(4), 8, form="sphere")
    assert plain is not None and sphere is not None and plain != sphere
    box, ball = (audited("laplace", Claim.of(4), 8, bound=bound) for bound in ("box", "l1-ball"))
    assert box is not None and ball is not None and box != ball
    assert audited("laplace", Claim.of(4, unit="element"), 8) not in (None, box)


def test_a_variant_that_was_not_audited_has_no_figure() -> None:
    blocks = {"sizes": "4,4", "shares": "2,2"}
    assert audited("blockwise", Claim.of(4), 8, of="laplace", **blocks) is not None
    assert audited("blockwise", Claim.of(4), 8, of="laplace", bound="l1-ball", **blocks) is None
    assert audited("codebook", Claim.of(4), 784) is None
    assert audited("directional", Claim.of(4), 5000) is None


def test_longer_rows_have_figures_of_their_own() -> None:
    eight, many = (audited("gaussian", Claim.of(4, "1e-5"), d) for d in (8, 784))
    assert eight is not None and many is not None
    assert (eight.dimension, many.dimension) == (8, 784)
    assert [size_class(d) for d in (1, 2, 8, 9, 64, 65, 1024, 1025)] == [1, 8, 8, 64, 64, 1024, 1024, None]


def test_the_variant_of_blocks_names_what_releases_them() -> None:
    for of, told in (("laplace", "laplace, box"), ("directional", "directional, gaussian"), ("codebook", "codebook")):
        claim = MECHANISMS["blockwise"].calibrate(Claim.of(4), 8, of=of, sizes="4,4", shares="0,4").guarantee(8)
        assert variant_of(claim).of == told
