"""What leaves with a kept code: the very rows that were drawn, the public function, a recipe that rebuilds."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pooled import PooledCode, PooledMethod

from veilray.codes import load_code
from veilray.errors import Refused
from veilray.images import Collection
from veilray.ledger import Journal, ReleaseState
from veilray.methods import DPGlow
from veilray.privacy import Claim, SeededEntropy
from veilray.releases import Plan, condition_rules, continue_release, facts_of, plan_release, start_release
from veilray.releases.features import Kept, Recipe, array_of
from veilray.releases.log import ImageLog

ReleaseOf = Callable[..., Path]
Scanned = Callable[[int], Collection]
LINEAR = {"mechanism": "laplace", "clip": "3"}

RECIPES = [
    ("laplace", Claim.of("3"), {"clip": "5/2"}),
    ("laplace", Claim.of("1", unit="element"), {}),
    ("gaussian", Claim.of("2", "1/1000000"), {}),
    ("directional", Claim.of("9"), {"form": "sphere", "blocks": "2"}),
    ("codebook", Claim.of("4"), {}),
    ("selection", Claim.of("4"), {"winners": "3"}),
    ("blockwise", Claim.of("4"), {"of": "codebook", "sizes": "1,3", "shares": "0,4"}),
    ("blockwise", Claim.of("4"), {"of": "selection", "sizes": "2,2", "winners": "3"}),
]


def make_plan(method: PooledMethod, collection: Collection) -> Plan:
    claim = Claim.of("8")
    mechanism = method.calibrated(claim, "laplace", clip="3")
    rules = condition_rules({"label": "randomised:1"}, method.card.levels_of, facts_of(collection.refs))
    kept = Kept.of(method, mechanism, claim, {"clip": "3"})
    return plan_release(collection, method, mechanism, rules, kept=kept)


def codes_of(folder: Path) -> np.ndarray:
    return np.load(folder / "codes.npy", allow_pickle=False)


def manifest_of(folder: Path) -> list[str]:
    with (folder / "manifest.csv").open(newline="") as file:
        return [row["path"] for row in csv.DictReader(file)]


def record_of(folder: Path) -> dict[str, bytes]:
    rows = sqlite3.connect(folder / "record.sqlite").execute("SELECT released, code FROM item WHERE sha256 NOT NULL")
    return {json.loads(released)["path"]: code for released, code in rows}


def test_rows_pictures_and_manifest_share_one_order(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    from PIL import Image

    folder = release_of(pooled, 9, **LINEAR)
    mechanism = pooled.calibrated(Claim.of("8"), "laplace", clip="3")
    made = pooled.decode(mechanism.to_prior(codes_of(folder)))
    seen = np.stack([np.asarray(Image.open(folder / name))[None] for name in manifest_of(folder)])
    assert np.array_equal(made, seen)
    assert len(np.unique(seen, axis=0)) == 9


def test_the_rows_are_those_that_the_record_committed(
    tmp_path: Path, pooled: PooledMethod, release_of: ReleaseOf
) -> None:
    folder = release_of(pooled, 5)
    committed = record_of(tmp_path / "record")
    assert codes_of(folder).dtype == np.dtype("<f8")
    assert [row.tobytes() for row in codes_of(folder)] == [committed[name] for name in manifest_of(folder)]


def test_release_json_lists_code_and_recipe(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    folder = release_of(pooled, 3, epsilon="9", form="sphere")
    told = json.loads((folder / "release.json").read_text())
    code = (folder / "kept_code" / "code.json").read_bytes()
    assert told["kept_code"] == {"kind": "pooled", "dimension": 4, "sha256": hashlib.sha256(code).hexdigest()}
    assert told["mechanism"] == {
        "name": "directional", "epsilon": "9", "delta": "0", "unit": "image", "dimension": 4,
        "options": {"form": "sphere"},
    }  # fmt: skip
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert files.keys() == told["files"].keys() | {"release.json"}
    assert {"codes.npy", "kept_code/code.json", "DATASET.md", "croissant.json"} < told["files"].keys()
    assert all(hashlib.sha256(files[name].read_bytes()).hexdigest() == sha for name, sha in told["files"].items())
    assert load_code(folder / "kept_code").config() == pooled.code.config()
    assert "Both leave under the one claim" in (folder / "README").read_text()


def test_nothing_beside_the_pictures_points_to_a_source(
    tmp_path: Path, pooled: PooledMethod, release_of: ReleaseOf
) -> None:
    folder = release_of(pooled, 6)
    beside = [path for path in folder.rglob("*") if path.is_file() and path.name != "README"]
    everything = b"".join(path.read_bytes() for path in beside).replace(b'"source": {', b"")  # a word of Croissant
    everything = everything.replace(b'"source": "cr:source"', b"").replace(b"each source", b"")
    for word in (b"secret-name", b"source", str(tmp_path).encode(), b"PNEUMONIA/", b"seed"):
        assert word not in everything.replace(b"source image", b""), word
    assert len({path.stat().st_mtime for path in folder.rglob("*")}) == 1


def test_a_method_without_a_code_leaves_none(method: DPGlow, release_of: ReleaseOf) -> None:
    folder = release_of(method, 2, mechanism="laplace")
    told = json.loads((folder / "release.json").read_text())
    assert "kept_code" not in told
    assert "mechanism" not in told
    assert not (folder / "codes.npy").exists()
    assert "codes.npy" not in (folder / "README").read_text()


@pytest.mark.parametrize(("name", "claim", "options"), RECIPES)
def test_a_recipe_rebuilds_the_very_mechanism(
    pooled: PooledMethod, name: str, claim: Claim, options: dict[str, str]
) -> None:
    mechanism = pooled.calibrated(claim, name, **options)
    kept = Kept.of(pooled, mechanism, claim, options)
    assert kept is not None
    again = Recipe.model_validate_json(kept.recipe.model_dump_json()).calibrate(kept.candidates)
    rows = np.random.default_rng(0).normal(size=(20, 4))
    drawn = mechanism.release(rows, SeededEntropy(1))
    assert np.array_equal(again.release(rows, SeededEntropy(1)), drawn)
    assert np.array_equal(again.log_likelihood(drawn, rows), mechanism.log_likelihood(drawn, rows))


def test_a_public_list_of_candidates_is_shipped(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    folder = release_of(pooled, 3, mechanism="selection")
    listed = json.loads((folder / "release.json").read_text())["files"]
    candidates = np.load(folder / "kept_code" / "candidates.npy", allow_pickle=False)
    assert candidates.shape == (1024, 4)
    assert "kept_code/candidates.npy" in listed
    assert {row.tobytes() for row in codes_of(folder)} <= {row.tobytes() for row in candidates}


def test_options_that_give_another_mechanism_are_refused(pooled: PooledMethod) -> None:
    mechanism = pooled.calibrated(Claim.of("8"), "laplace", clip="3")
    with pytest.raises(ValueError, match="options must give the mechanism laplace that draws"):
        Kept.of(pooled, mechanism, Claim.of("8"), {"clip": "2"})
    with pytest.raises(ValueError, match="options must give the mechanism laplace that draws"):
        Kept.of(pooled, mechanism, Claim.of("7"), {"clip": "3"})


def test_a_release_without_its_code_is_refused_before_anything_is_reserved(
    tmp_path: Path, pooled: PooledMethod, scanned: Scanned
) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    mechanism = pooled.calibrated(Claim.of("8"))
    plan = plan_release(scanned(2), pooled, mechanism, ())
    with pytest.raises(ValueError, match=r"kept must be Kept\.of"):
        start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    assert journal.releases() == []
    assert not (tmp_path / "record").exists()


def test_a_record_of_an_earlier_version_is_brought_up(tmp_path: Path, pooled: PooledMethod, scanned: Scanned) -> None:
    start_release(make_plan(pooled, scanned(3)), tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    _without_code_column(tmp_path / "record")
    record = ImageLog.open(tmp_path / "record")
    assert [file.code for file in record.committed()] == [None] * 3
    assert ImageLog.open(tmp_path / "record").counts() == (3, 3)


def test_committed_pictures_without_their_rows_are_not_drawn_again(
    tmp_path: Path, pooled: PooledMethod, scanned: Scanned, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, journal = make_plan(pooled, scanned(3)), Journal(tmp_path / "l.sqlite")
    _interrupted_before_finish(plan, tmp_path, journal, monkeypatch)
    _without_code_column(tmp_path / "record")
    with pytest.raises(Refused, match="no code row in RECORD"):
        continue_release(plan, tmp_path / "out", tmp_path / "record", journal)


def test_resuming_with_another_code_is_refused(
    tmp_path: Path, pooled: PooledMethod, scanned: Scanned, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, journal = scanned(3), Journal(tmp_path / "l.sqlite")
    _interrupted_before_finish(make_plan(pooled, collection), tmp_path, journal, monkeypatch)
    other = make_plan(PooledMethod(PooledCode(100.0, 20.0), pooled.card), collection)
    with pytest.raises(ValueError, match="kept_code must be"):
        continue_release(other, tmp_path / "out", tmp_path / "record", journal)


KILLED_RUN = """
import importlib, os, signal, sys
from pathlib import Path
home, target, count, when, here = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
sys.path.insert(0, here)
import pooled, test_features
from veilray.images import Collection
from veilray.ledger import Journal
from veilray.releases import images as writer
from veilray.releases import start_release

path, _, name = target.rpartition(".")
module, _, cls = path.rpartition(".")
owner = getattr(importlib.import_module(module), cls)
real, calls = getattr(owner, name), [0]

def dying(*args, **kwargs):
    calls[0] += 1
    if calls[0] == count and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **kwargs)
    if calls[0] == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, dying)
writer._BATCH = 4
collection = Collection.open(home / "source")
collection.scan()
plan = test_features.make_plan(pooled.PooledMethod.made(), collection)
start_release(plan, home / "out", home / "record", Journal(home / "l.sqlite"))
"""


@pytest.mark.parametrize(
    ("target", "count", "when"),
    [
        ("veilray.releases.log.ImageLog.commit", 2, "before"),
        ("veilray.releases.features.Kept.write", 1, "after"),
    ],
)
def test_killed_and_resumed_a_release_keeps_every_committed_row(
    tmp_path: Path, pooled: PooledMethod, folder_of_images: Callable[[int], Path], target: str, count: int, when: str
) -> None:
    folder_of_images(10)
    arguments = [str(tmp_path), target, str(count), when, str(Path(__file__).parent)]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_RUN), *arguments], check=False, capture_output=True, timeout=120
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    committed = record_of(tmp_path / "record")
    assert len(committed) == (4 if "ImageLog" in target else 10)
    collection = Collection.open(tmp_path / "source")
    collection.scan()
    journal = Journal(tmp_path / "l.sqlite")
    continue_release(make_plan(pooled, collection), tmp_path / "out", tmp_path / "record", journal)
    final = dict(zip(manifest_of(tmp_path / "out"), codes_of(tmp_path / "out"), strict=True))
    assert len(final) == 10
    assert committed.items() <= {name: row.tobytes() for name, row in final.items()}.items()
    assert [row.state for row in journal.releases()] == [ReleaseState.PUBLISHED]


@given(st.integers(0, 5), st.integers(1, 5), st.data())
def test_an_array_reads_back_and_a_cut_one_is_refused(rows: int, columns: int, data: st.DataObject) -> None:
    array = np.random.default_rng(rows).normal(size=(rows, columns))
    file = io.BytesIO()
    np.save(file, array)
    content = file.getvalue()
    assert np.array_equal(array_of(content, "codes.npy", columns, rows), array)
    with pytest.raises(ValueError, match=r"codes\.npy must"):
        array_of(content[: data.draw(st.integers(0, len(content) - 1))], "codes.npy", columns, rows)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 2), np.float32),
        np.zeros((3, 2), ">f8"),
        np.asfortranarray(np.zeros((3, 2))),
        np.zeros(6),
        np.full((3, 2), np.nan),
        np.array([[{}, {}]] * 3, dtype=object),
    ],
)
def test_an_array_of_another_kind_is_refused(array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    with pytest.raises(ValueError, match=r"codes\.npy must"):
        array_of(file.getvalue(), "codes.npy", 2, 3)


def test_an_array_that_claims_an_absurd_shape_is_refused_unallocated() -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 4)})
    with pytest.raises(ValueError, match="must hold"):
        array_of(file.getvalue(), "codes.npy", 4)


@pytest.mark.parametrize(
    "options", [{"claim": "1"}, {"dimension": "2"}, {"__class__": "x"}, {"clip": "1" * 5000}, {"colour": "red"}]
)
def test_a_recipe_takes_only_options_of_the_mechanism(options: dict[str, str]) -> None:
    told = {"name": "laplace", "epsilon": "1", "delta": "0", "unit": "image", "dimension": 4, "options": options}
    with pytest.raises(ValueError, match=r"options"):
        Recipe.model_validate(told).calibrate()


def _interrupted_before_finish(plan: Plan, home: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("veilray.releases.images.ImageStaging.finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            start_release(plan, home / "out", home / "record", journal)


def _without_code_column(record: Path) -> None:
    with sqlite3.connect(record / "record.sqlite") as database:
        database.execute("ALTER TABLE item DROP COLUMN code")
