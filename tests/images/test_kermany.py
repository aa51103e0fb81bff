"""The real chest X-rays, when they are there: the counts of their description."""

from __future__ import annotations

import pytest

from veilray.images import Collection, hash_half


@pytest.fixture(scope="module")
def scanned(shared_data):
    with Collection.open(shared_data / "kermany_cxr", layout="kermany") as collection:
        yield collection, collection.scan()


def test_counts_of_patients_and_images(scanned):
    collection, scan = scanned
    patients = collection.patients()
    assert scan.images == 5_840
    assert scan.quarantined == 0
    assert len(patients) == 4_082
    several = [count for count in patients.values() if count > 1]
    assert (len(several), sum(several)) == (725, 2_483)
    assert len(collection.select(subtype="bacteria")) == 2_772
    assert len(collection.select(subtype="virus")) == 1_493
    assert scan.sizes == {(224, 224): 5_840}


def test_exact_duplicates(scanned):
    collection, scan = scanned
    assert (scan.surplus, scan.duplicates) == (32, 30)
    assert len(collection.without_duplicates()) == 5_808


def test_groups_that_a_split_joins(scanned):
    collection, _ = scanned
    joined = {ref.patient: ref.group for ref in collection.refs}
    assert len(joined) - len(set(joined.values())) == 234


def test_the_canonical_split(scanned):
    collection, _ = scanned
    train = collection.without_duplicates().select(split="train")
    public = train.subset(lambda ref: hash_half(ref.group) == 0)
    private = train.subset(lambda ref: hash_half(ref.group) == 1)
    assert (len(public), len(private)) == (2_641, 2_549)
    assert (len(public.patients()), len(private.patients())) == (1_816, 1_838)
    assert not {ref.group for ref in public.refs} & {ref.group for ref in private.refs}
