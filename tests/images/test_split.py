"""Splits never put one group on two sides."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.images import Collection, hash_fraction, hash_half, split_by_patient


@pytest.fixture
def collection(tmp_path, picture):
    patients = np.array([f"p{index // 3}" if index < 240 else "" for index in range(300)])
    np.savez(tmp_path / "a.npz", images=picture((300, 2, 2)), patient=patients)
    with Collection.open(tmp_path / "a.npz") as opened:
        yield opened


@given(st.text())
def test_half_is_the_parity_of_the_digest(key):
    digest = hashlib.sha256(b"veilray-split:" + key.encode()).hexdigest()
    assert hash_half(key) == int(digest, 16) % 2


@given(st.text(), st.text())
def test_fraction_is_in_the_unit_interval(key, salt):
    assert 0 <= hash_fraction(key, salt) < 1


def test_no_group_is_on_two_sides_and_none_is_lost(collection):
    parts = split_by_patient(collection, {"train": 0.6, "val": 0.2, "test": 0.2})
    groups = [{ref.group for ref in part.refs} for part in parts.values()]
    assert list(parts) == ["train", "val", "test"]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 80 + 60
    assert sum(map(len, parts.values())) == 300
    assert all(count == 3 for part in parts.values() for count in part.patients().values())


def test_shares_are_met_on_average(collection):
    parts = split_by_patient(collection, {"a": 0.75, "b": 0.25})
    share = len({ref.group for ref in parts["a"].refs}) / 140
    assert abs(share - 0.75) < 0.11  # three standard deviations


def test_a_split_depends_on_the_key_and_the_salt_alone(collection):
    def sides(part):
        return {ref.group for ref in part.refs}

    whole = split_by_patient(collection, {"a": 0.5, "b": 0.5})
    half = split_by_patient(collection.subset(range(299, 99, -1)), {"a": 0.5, "b": 0.5})
    assert sides(half["a"]) <= sides(whole["a"])
    assert sides(split_by_patient(collection, {"a": 0.5, "b": 0.5}, salt="x")["a"]) != sides(whole["a"])


@pytest.mark.parametrize(
    "fractions", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": 1.0, "b": 0.0}, {"a": float("nan")}]
)
def test_fractions_that_are_none_are_refused(collection, fractions):
    with pytest.raises(ValueError, match="fractions must"):
        split_by_patient(collection, fractions)
