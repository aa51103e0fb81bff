"""The main job: complete, private, published once, whatever kills it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veilray.errors import Refused
from veilray.images import Collection, write_image
from veilray.ledger import Journal, ReleaseState
from veilray.methods import DPGlow
from veilray.privacy import MECHANISMS, Claim, ModelTraining, SeededEntropy, SystemEntropy
from veilray.releases import (
    Plan,
    ReleaseContext,
    condition_rules,
    continue_release,
    facts_of,
    find_record,
    plan_release,
    read_release,
    start_release,
)
from veilray.releases.dataset import open_release
from veilray.releases.lifecycle import _complete
from veilray.releases.log import ImageLog
from veilray.report.dataset_card import dataset_files


def make_plan(method: DPGlow, collection: Collection, epsilon: str = "8", label: str = "withheld") -> Plan:
    mechanism = MECHANISMS["laplace"].calibrate(Claim.of(epsilon), method.dimension)
    rules = condition_rules({"label": label}, method.card.levels_of, facts_of(collection.refs))
    return plan_release(collection, method, mechanism, rules, job={"epsilon": epsilon})


def test_a_release_is_complete_and_says_what_it_claims(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    plan = make_plan(method, scanned(10))
    outcome = start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    told = read_release(tmp_path / "out")
    assert outcome.count == 10
    assert told["guarantee"] == plan.guarantee
    assert told["guarantee"].releases.images == 10
    assert told["model"] == method.card
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == set(told["files"]) | {"release.json"}
    for name, sha256 in told["files"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == sha256
    for path in (tmp_path / "out" / "images").iterdir():
        with Image.open(path) as picture:
            assert picture.size == (8, 8)
            assert picture.mode == "L"
    readme = (tmp_path / "out" / "README").read_text()
    assert "epsilon 8 (pure)" in readme
    assert "not for diagnosis" in readme


def test_nothing_in_a_release_points_to_a_source(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    plan = make_plan(method, scanned(12))
    start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for word in (b"secret-name", b"source", str(tmp_path).encode(), b"PNEUMONIA/", b"seed"):
        assert word not in everything.replace(b"each source", b"").replace(b"NORMAL", b""), word
    names = [path.name for path in (tmp_path / "out" / "images").iterdir()]
    assert all(re.fullmatch(r"[0-9a-f]{16}\.png", name) for name in names)
    assert len({path.stat().st_mtime for path in (tmp_path / "out").rglob("*")}) == 1


def test_order_and_names_are_fresh_in_every_release(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    plan = make_plan(method, scanned(16))
    journal = Journal(tmp_path / "l.sqlite")
    runs = []
    for run in ("a", "b"):
        start_release(plan, tmp_path / run, tmp_path / f"record-{run}", journal)
        record = ImageLog.open(tmp_path / f"record-{run}")
        runs.append([(pair["source"], pair["released"]) for pair in record.pairs()])
    sources = [[source for source, _ in run] for run in runs]
    assert sources[0] != sources[1]
    assert sorted(sources[0]) == sorted(sources[1])
    assert not {released for _, released in runs[0]} & {released for _, released in runs[1]}


def test_two_releases_of_one_image_differ(tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]) -> None:
    plan = make_plan(method, scanned(1), epsilon="200")
    journal = Journal(tmp_path / "l.sqlite")
    for run in ("a", "b"):
        start_release(plan, tmp_path / run, tmp_path / f"record-{run}", journal)
    first, second = (next((tmp_path / run / "images").iterdir()).read_bytes() for run in "ab")
    assert first != second


def test_the_record_is_private_and_joins_sources_with_releases(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    collection = scanned(4)
    (tmp_path / "source" / "NORMAL" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    collection = Collection.open(tmp_path / "source")
    collection.scan()
    plan = make_plan(method, collection)
    outcome = start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    assert [entry.source for entry in outcome.refused] == ["NORMAL/broken.png"]
    assert stat.S_IMODE((tmp_path / "record").stat().st_mode) == 0o700
    for path in (tmp_path / "record").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert "broken.png" in (tmp_path / "record" / "quarantine.csv").read_text()
    assert (tmp_path / "record" / "pairs.csv").read_text().count("secret-name") == 4


@pytest.mark.parametrize("policy", ["public", "randomised:1", "withheld"])
def test_the_label_leaves_only_as_its_policy_says(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection], policy: str
) -> None:
    collection = scanned(60)
    plan = make_plan(method, collection, label=policy)
    start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    told = read_release(tmp_path / "out")
    pairs = list(ImageLog.open(tmp_path / "record").pairs())
    folders = [Path(pair["released"]).parts[1:-1] for pair in pairs]
    truth = [(pair["label"],) for pair in pairs]
    if policy == "withheld":
        assert set(folders) == {()}
        assert "label" not in (tmp_path / "out" / "manifest.csv").read_text()
    elif policy == "public":
        assert folders == truth
        assert any("label" in line for line in told["guarantee"].not_covered())
    else:
        agreed = sum(folder == true for folder, true in zip(folders, truth, strict=True))
        assert 25 < agreed < 58  # 60 draws that agree with probability e / (1 + e) = .731; odds of a miss < 1e-5
        assert told["guarantee"].total_image_epsilon == 9


def test_a_plan_spends_nothing(tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]) -> None:
    plan = make_plan(method, scanned(3))
    assert plan.guarantee.releases is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_an_existing_destination_is_never_touched(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    (tmp_path / "out").mkdir()
    journal = Journal(tmp_path / "l.sqlite")
    with pytest.raises(ValueError, match="RELEASE must be a new folder"):
        start_release(make_plan(method, scanned(2)), tmp_path / "out", tmp_path / "record", journal)
    assert journal.releases() == []


def test_seeded_noise_is_refused_by_type(tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]) -> None:
    plan = make_plan(method, scanned(2))
    journal = Journal(tmp_path / "l.sqlite")
    journal.reserve("x", plan.guarantee, {})
    with pytest.raises(Refused, match="SystemEntropy"):
        _complete(plan, "x", tmp_path / "out", ImageLog.create(tmp_path / "r"), journal, SeededEntropy(1), None)


def test_a_file_that_vanishes_after_the_scan_is_released_as_a_blank_source(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    collection = scanned(4)
    (tmp_path / "source" / collection.refs[0].source).unlink()
    plan = make_plan(method, collection)
    outcome = start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    assert outcome.count == 4
    assert ["unreadable after the scan" in entry.reason for entry in outcome.refused] == [True]


def test_source_geometry_is_kept_only_on_request_and_then_not_covered(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    collection = scanned(2)
    plan = make_plan(method, collection)
    plan = plan_release(collection, method, plan.mechanism, plan.rules, keep_geometry=True)
    start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    with Image.open(next((tmp_path / "out" / "images").iterdir())) as picture:
        assert picture.size == (9, 12)
    assert any("rows, columns" in line for line in read_release(tmp_path / "out")["guarantee"].not_covered())


def test_a_release_is_not_continued_in_another_ledger(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, other = make_plan(method, scanned(3)), Journal(tmp_path / "other.sqlite")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("veilray.releases.staging.Staging.publish", interrupted)
        start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    with pytest.raises(Refused, match="must be in the ledger, got none: use the ledger it was made with"):
        continue_release(plan, tmp_path / "out", tmp_path / "record", other)
    assert other.releases() == []
    assert continue_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite")).count == 3


KILL_POINTS = [
    ("veilray.releases.log.ImageLog.plan", 1),
    ("veilray.releases.log.ImageLog.write_job", 1),
    ("veilray.ledger.Journal.reserve", 1),
    ("veilray.releases.log.ReleaseLog.note_reserved", 1),
    ("veilray.releases.images.ImageStaging.place", 3),
    ("veilray.releases.staging.Staging.fsync", 2),
    ("veilray.releases.log.ImageLog.commit", 1),
    ("veilray.releases.log.ImageLog.commit", 2),
    ("veilray.releases.images.ImageStaging.finish", 1),
    ("veilray.ledger.Journal.commit", 1),
    ("veilray.releases.staging.Staging.publish", 1),
    ("veilray.ledger.Journal.publish", 1),
    ("veilray.releases.log.ImageLog.export", 1),
]

KILLED_RUN = """
import importlib, os, signal, sys
from pathlib import Path
from veilray.images import Collection, write_image
from veilray.ledger import Journal
from veilray.methods import load_method
from veilray.releases import images as writer
from veilray.releases import condition_rules, facts_of, plan_release, start_release
from veilray.privacy import MECHANISMS, Claim

home, target, count, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
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
method = load_method(home / "model")
collection = Collection.open(home / "source")
collection.scan()
mechanism = MECHANISMS["laplace"].calibrate(Claim.of("8"), method.dimension)
rules = condition_rules({"label": "randomised:1"}, method.card.levels_of, facts_of(collection.refs))
plan = plan_release(collection, method, mechanism, rules, job={"epsilon": "8"})
start_release(plan, home / "out", home / "record", Journal(home / "l.sqlite"))
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("target", "count"), KILL_POINTS)
def test_killed_anywhere_and_resumed_a_release_is_complete_and_nothing_is_drawn_twice(
    tmp_path: Path,
    method: DPGlow,
    folder_of_images: Callable[[int], Path],
    target: str,
    count: int,
    when: str,
) -> None:
    folder_of_images(10)
    method.save(tmp_path / "model")
    arguments = [sys.executable, "-c", textwrap.dedent(KILLED_RUN), str(tmp_path), target, str(count), when]
    run = subprocess.run(arguments, check=False, capture_output=True, timeout=120)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()

    visible = tmp_path / "out"
    seen = _hashes(visible) if visible.exists() else None
    committed = _committed(tmp_path / "record")
    collection = Collection.open(tmp_path / "source")
    collection.scan()
    plan = make_plan(method, collection, label="randomised:1")
    journal = Journal(tmp_path / "l.sqlite")
    if not (tmp_path / "record" / "job.json").exists():
        assert seen is None
        assert journal.releases() == []  # died before anything was reserved: start anew, nothing was spent
        with pytest.raises(ValueError, match="RECORD must be"):
            continue_release(plan, visible, tmp_path / "record", journal)
        return
    outcome = continue_release(plan, visible, tmp_path / "record", journal)

    final = _hashes(visible)
    assert outcome.count == 10
    assert len([name for name in final if name.startswith("images/")]) == 10
    assert seen is None or seen == final, "what was visible before the kill must be what is visible after"
    assert committed.items() <= final.items(), "a committed file must never be drawn again"
    assert len(journal.releases()) == 1
    assert journal.releases()[0].state is ReleaseState.PUBLISHED
    assert not list(tmp_path.glob(".out.*")), "the spool must be gone"
    assert read_release(visible)["guarantee"] == plan.guarantee
    again = continue_release(plan, visible, tmp_path / "record", journal)
    assert again.count == 10
    assert _hashes(visible) == final, "resuming a finished release must change nothing"


def test_a_tampered_committed_file_is_not_drawn_again(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(method, scanned(6))
    journal = Journal(tmp_path / "l.sqlite")
    monkeypatch.setattr("veilray.releases.images.ImageStaging.finish", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    monkeypatch.undo()
    next(tmp_path.glob(".out.*/images/*.png")).write_bytes(b"altered")
    with pytest.raises(Refused, match="missing or altered"):
        continue_release(plan, tmp_path / "out", tmp_path / "record", journal)


def test_resuming_with_other_options_is_refused(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    plan = make_plan(method, scanned(2))
    journal = Journal(tmp_path / "l.sqlite")
    start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    other = replace(plan, job={"epsilon": "9"})
    with pytest.raises(ValueError, match="epsilon must be '8' as when this release was started"):
        continue_release(other, tmp_path / "out", tmp_path / "record", journal)


def test_another_claim_is_told_by_its_first_difference(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    plan = make_plan(method, scanned(2))
    journal = Journal(tmp_path / "l.sqlite")
    start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    other = replace(
        plan, guarantee=replace(plan.guarantee, model_training=ModelTraining(data="public", statement="others"))
    )
    with pytest.raises(ValueError, match=r"^claim model_training [a-z]+ must be [^{]* as when .* got [^{]*: resume"):
        continue_release(other, tmp_path / "out", tmp_path / "record", journal)


def test_labels_of_any_language_lie_under_safe_names_and_come_back(
    tmp_path: Path, method: DPGlow, folder_of_images: Callable[[int], Path]
) -> None:
    folder = folder_of_images(4)
    (folder / "NORMAL").rename(folder / "Größe|A")
    plan = make_plan(method, opened(folder), label="public")
    start_release(replace(plan, describe=dataset_files), tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l"))
    assert {path.name for path in (tmp_path / "out" / "images").iterdir()} == {"PNEUMONIA", "Gr%C3%B6%C3%9Fe%7CA"}
    told = read_release(tmp_path / "out")
    assert told["label_folders"] == {"Gr%C3%B6%C3%9Fe%7CA": "Größe|A"}
    assert sorted(set(open_release(tmp_path / "out").labels or ())) == ["Größe|A", "PNEUMONIA"]
    assert "| Größe\\|A | 2 |" in (tmp_path / "out" / "DATASET.md").read_text()


def test_a_changed_pixel_is_another_release(
    tmp_path: Path, method: DPGlow, folder_of_images: Callable[[int], Path]
) -> None:
    journal = Journal(tmp_path / "l.sqlite")
    folder = folder_of_images(2)
    start_release(make_plan(method, opened(folder)), tmp_path / "out", tmp_path / "record", journal)
    path = folder / "NORMAL" / "secret-name-1.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] ^= 1
    path.unlink()
    write_image(path, pixels)
    with pytest.raises(ValueError, match="must hold the same pixels as when") as refused:
        continue_release(make_plan(method, opened(folder)), tmp_path / "out", tmp_path / "record", journal)
    assert not re.search(r"[0-9a-f]{16}", str(refused.value))


def test_a_job_of_an_earlier_version_is_resumed(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    plan = make_plan(method, scanned(2))
    journal = Journal(tmp_path / "l.sqlite")
    start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    path = tmp_path / "record" / "job.json"
    job = json.loads(path.read_text())
    del job["pixels_sha256"], job["claim"]["in_clear"]
    path.write_text(json.dumps(job))
    assert continue_release(plan, tmp_path / "out", tmp_path / "record", journal).count == 2


def test_two_processes_cannot_make_one_release(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]
) -> None:
    plan = make_plan(method, scanned(2))
    journal = Journal(tmp_path / "l.sqlite")
    start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    with ImageLog.open(tmp_path / "record").locked(), pytest.raises(Refused, match="in use"):
        continue_release(plan, tmp_path / "out", tmp_path / "record", journal)


def test_the_record_of_an_output_is_found(tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]) -> None:
    plan = make_plan(method, scanned(2))
    start_release(plan, tmp_path / "out", tmp_path / "records" / "one", Journal(tmp_path / "l.sqlite"))
    assert find_record(tmp_path / "records", tmp_path / "out") == tmp_path / "records" / "one"
    with pytest.raises(ValueError, match="RECORD of"):
        find_record(tmp_path / "records", tmp_path / "another")


def test_no_noise_key_or_seed_is_stored(tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]) -> None:
    plan = make_plan(method, scanned(2))
    start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    for database in (tmp_path / "l.sqlite", tmp_path / "record" / "record.sqlite"):
        tables = sqlite3.connect(database).execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall()
        words = " ".join(sql for (sql,) in tables).lower()
        assert not re.search(r"\b(seed|noise|nonce|secret)\b", words)


def opened(folder: Path) -> Collection:
    collection = Collection.open(folder)
    collection.scan()
    return collection


def _interrupt(*_: object, **__: object) -> str:
    raise KeyboardInterrupt


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _committed(folder: Path) -> dict[str, str]:
    if not (folder / "record.sqlite").exists():
        return {}
    rows = sqlite3.connect(folder / "record.sqlite").execute("SELECT released, sha256 FROM item WHERE sha256 NOT NULL")
    return {json.loads(released)["path"]: sha256 for released, sha256 in rows}


def test_a_label_that_was_drawn_and_thrown_away_does_not_show(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = scanned(1)
    journal = Journal(tmp_path / "l.sqlite")
    for run in range(12):
        plan = make_plan(method, collection, label="randomised:1/10")
        out, record = tmp_path / f"out{run}", tmp_path / f"record{run}"
        with monkeypatch.context() as patched:
            patched.setattr("veilray.releases.log.ImageLog.commit", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                start_release(plan, out, record, journal)
        continue_release(plan, out, record, journal)
        assert len(list((out / "images").iterdir())) == 1, "an empty folder would show the first draw"


def test_a_picture_altered_after_the_commit_is_not_published(
    tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(method, scanned(3))
    journal = Journal(tmp_path / "l.sqlite")
    with monkeypatch.context() as patched:
        patched.setattr("veilray.releases.staging.Staging.publish", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            start_release(plan, tmp_path / "out", tmp_path / "record", journal)
    next(tmp_path.glob(".out.*/images/*.png")).write_bytes(b"altered")
    with pytest.raises(Refused, match="missing, altered or foreign"):
        continue_release(plan, tmp_path / "out", tmp_path / "record", journal)
    assert not (tmp_path / "out").exists()


def test_an_experiment_with_a_seed_carries_no_claim(method: DPGlow) -> None:
    mechanism = MECHANISMS["laplace"].calibrate(Claim.of("4"), method.dimension)
    images = np.zeros((2, 1, 8, 8), np.uint8)
    assert method.release(images, ReleaseContext(mechanism, SeededEntropy(1))).guarantee is None
    assert method.release(images, ReleaseContext(mechanism, SystemEntropy())).guarantee is not None


def test_release_json_states_the_totals(tmp_path: Path, method: DPGlow, scanned: Callable[[int], Collection]) -> None:
    plan = make_plan(method, scanned(4), epsilon="1", label="randomised:4")
    start_release(plan, tmp_path / "out", tmp_path / "record", Journal(tmp_path / "l.sqlite"))
    told = read_release(tmp_path / "out")
    assert told["totals"]["image_epsilon"] == "5"
    assert told["guarantee"].ceiling() > 2
    readme = " ".join((tmp_path / "out" / "README").read_text().split())
    assert "epsilon 5 (pure), of which 1 for the picture and 4 for its randomised conditions" in readme


def test_a_model_card_over_other_weights_is_refused(tmp_path: Path, method: DPGlow) -> None:
    method.save(tmp_path / "model")
    assert DPGlow.load(tmp_path / "model").card == method.card
    card = tmp_path / "model" / "model.json"
    card.write_text(card.read_text().replace(method.card.weights_sha256, "0" * 64))
    with pytest.raises(ValueError, match="must hold the weights its model card tells of"):
        DPGlow.load(tmp_path / "model")
