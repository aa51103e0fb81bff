"""The real chest X-rays, when they are there: the counts of their description."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from veilray.images import Collection, hash_half, manifest_root


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


def test_the_script_writes_manifests_that_open(shared_data, tmp_path, capsys):
    script = Path("studies/datasets.py")
    if not script.is_file():
        pytest.skip("no studies/datasets.py here: run from the repository")
    spec = importlib.util.spec_from_file_location("datasets_script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["kermany", "--out", str(tmp_path), "--data", str(shared_data)])
    assert "dropped      32 exact duplicates of 30 images" in capsys.readouterr().out
    with (tmp_path / "test.csv").open(newline="") as file:
        file.readline()
        assert next(csv.reader(file)) == ["path", "patient", "group", "label", "split", "subtype"]
    manifest = tmp_path / "private.csv"
    with Collection.open(manifest, root=manifest_root(manifest)) as collection:
        assert (len(collection), len(collection.quarantine)) == (2_549, 0)
        assert collection.condition_names == ("subtype",)
