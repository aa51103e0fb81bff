"""Public code books: the same everywhere, without repeats, adding up to zero."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from veilray.privacy.code_book import book_sizes, code_book, guessed_top_scores, measured_top_scores


@pytest.mark.parametrize(
    ("length", "size"), [(1, 2), (5, 32), (12, 4096), (13, 64), (13, 4096), (14, 4096), (17, 1024), (128, 4096)]
)
def test_words_are_signs_without_repeats_and_add_up_to_zero(length: int, size: int) -> None:
    book = code_book(length, size)
    assert book.shape == (size, length)
    assert set(np.unique(book)) == {-1.0, 1.0}
    assert len(np.unique(book, axis=0)) == size
    assert (book.sum(axis=0) == 0).all()


def test_a_book_never_changes() -> None:
    """A released index means a word: another derivation would be another mechanism."""
    digest = hashlib.sha256(code_book(128, 1024).astype("<f8").tobytes()).hexdigest()
    assert digest == "d00157c6ef854987a0f97878f9837824633fe0e9358ed05499c8a7aa5a556839"


def test_a_book_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        code_book(4, 16)[0, 0] = 2


def test_sizes_that_are_not_on_offer_are_refused() -> None:
    with pytest.raises(ValueError, match="size must be one of"):
        code_book(4, 8)
    assert book_sizes(4) == (16,)


@pytest.mark.parametrize(("length", "size"), [(64, 1024), (128, 4096), (512, 256)])
def test_the_formula_for_top_scores_is_near_the_measurement(length: int, size: int) -> None:
    guessed, measured = guessed_top_scores(length, size), measured_top_scores(length, size)
    for m in (1, size // 50, size // 4, size // 2):
        assert guessed[m - 1] == pytest.approx(measured[m - 1], rel=0.06)


def test_the_cubes_best_word_is_the_sign() -> None:
    # E of sum |x_i| is length * sqrt(2 / pi)
    assert measured_top_scores(8, 256)[0] == pytest.approx(8 * np.sqrt(2 / np.pi), rel=0.02)
