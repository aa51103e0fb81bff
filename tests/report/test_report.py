"""Pictures and pages: complete, labelled, standing alone."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veilray.methods import DPGlow
from veilray.methods.selection import SelectionRelease
from veilray.privacy import EMPIRICAL, MECHANISMS, Bound, Claim, Guarantee, ModelTraining, Releases
from veilray.privacy.card import card_entries, card_text
from veilray.report import SETTINGS, DemoFacts, Row, card_page, contact_sheet, demo_page, draw_sheet, preview_sheet


@pytest.fixture
def guarantee() -> Guarantee:
    return Guarantee(
        unit="image",
        epsilon=Fraction(8),
        image_epsilon=Fraction(8),
        bound=Bound(kind="box", radius=Fraction(3)),
        dimension=64,
        mechanism="laplace",
        releases=Releases(images=30, patients=10, largest_patient=3),
        model_training=ModelTraining(data="public", statement="<b>digits</b>"),
    )


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def test_a_contact_sheet_has_a_row_for_each_claim_and_its_controls(method: DPGlow) -> None:
    rows = contact_sheet(method, pictures(4))
    assert len(rows) == len(SETTINGS) + 3
    assert (rows[0].pictures == rows[1].pictures).all(), "without noise the decoder gives the original back"
    assert [row.guarantee.epsilon for row in rows if row.guarantee] == [10, 3, 1, 1000, 100, 8]
    assert "per element ε 10\n(whole image ε 640)" in [row.title for row in rows]


def test_a_sheet_of_a_selection_shows_pictures_of_its_list(selection: SelectionRelease) -> None:
    rows = contact_sheet(selection, pictures(4))
    assert [str(row.guarantee.epsilon) for row in rows if row.guarantee] == ["8", "4", "2", "1", "1/2"]
    listed = {picture.tobytes() for picture in selection._candidates}
    assert {picture.tobytes() for row in rows if row.guarantee for picture in row.pictures} <= listed


def test_more_epsilon_keeps_more_of_the_picture(method: DPGlow) -> None:
    originals = pictures(40)
    rows = contact_sheet(method, originals)
    kept = {
        str(row.guarantee.image_epsilon): np.corrcoef(originals.ravel(), row.pictures.ravel())[0, 1]
        for row in rows
        if row.guarantee
    }
    assert kept["1000"] > kept["100"] > abs(kept["8"])
    assert abs(kept["8"]) < 0.1, "whole-image epsilon 8 with coordinate noise destroys the picture"


def test_a_sheet_and_a_preview_are_pictures(tmp_path: Path, method: DPGlow) -> None:
    draw_sheet(
        [Row("grey", pictures(3)), Row("colour", pictures(6).reshape(2, 3, 8, 8))], tmp_path / "sheet.png", "note"
    )
    preview_sheet(method, MECHANISMS["laplace"].calibrate(Claim.of("8"), method.dimension), tmp_path / "preview.png")
    for name in ("sheet.png", "preview.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 400
            assert len(set(picture.convert("L").tobytes())) > 20


def test_the_card_says_the_worst_patient_the_odds_and_the_limits(guarantee: Guarantee) -> None:
    text = " ".join(card_text(guarantee).split())
    assert "worst patient in this release alone (3 images) epsilon 24" in text
    assert "at 10 or more the worst case protects no more" in text
    assert "Among 1,000 equally likely images the right one gets at most 74.9 %" in text
    assert "not thereby anonymous in law; not for diagnosis" in text
    assert max(map(len, card_text(guarantee, width=80).splitlines())) <= 80


def test_many_small_releases_of_a_patient_read_better_at_a_delta() -> None:
    mechanism = MECHANISMS["gaussian"].calibrate(Claim.of("1", "1e-6"), 8)
    released = mechanism.guarantee(8).with_release(
        releases=Releases(images=40, patients=2, largest_patient=20),
        conditions={},
        model_training=ModelTraining(data="public", statement="x"),
    )
    text = " ".join(card_text(released).split())
    assert "worst patient in this release alone (20 images) epsilon 20, delta 2e-5" in text
    assert "read at delta 1e-6 the worst patient has epsilon 5.21" in text
    assert "but for a chance of delta" in text


def test_a_method_without_a_guarantee_says_so_where_a_claim_would_stand() -> None:
    assert card_entries(None)[0].text.startswith(EMPIRICAL)
    assert card_entries(None)[0].warning


def test_pages_stand_alone_and_escape_what_they_show(tmp_path: Path, guarantee: Guarantee, method: DPGlow) -> None:
    draw_sheet([Row("x", pictures(1))], tmp_path / "x.png")
    facts = DemoFacts(
        subject="digits & more",
        training={"bits per dimension": "1.2"},
        premise={"sd": "1.01"},
        guarantees=[guarantee],
        release=guarantee,
        pictures={"sheet": tmp_path / "x.png", "premise": tmp_path / "x.png"},
        commands=["veilray card RELEASE"],
    )
    for page in (demo_page(facts), card_page(guarantee, "30 images")):
        assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", page), "nothing is loaded from elsewhere"
        assert "&lt;b&gt;digits&lt;/b&gt;" in page
        assert "<b>digits</b>" not in page
    assert "Internal" in demo_page(facts)
    assert "digits &amp; more" in demo_page(facts)
