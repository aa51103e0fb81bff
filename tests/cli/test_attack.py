"""`veilray attack`: pictures and figures of one attack, for the owner's eyes only, and no claim."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from scipy.ndimage import gaussian_filter
from typer import Typer
from typer.testing import CliRunner

from veilray.cli.attack import attack
from veilray.evaluation.attacks.intensity import ObfuscatedSet
from veilray.evaluation.attacks.intensity.folders import open_attacked
from veilray.images import Collection
from veilray.methods.obfuscation import Key, Obfuscation, obfuscate_folder
from veilray.privacy.guarantee import EMPIRICAL
from veilray.releases.log import ImageLog

app = Typer()
app.command()(attack)


@dataclass(frozen=True)
class Owner:
    """Folders of a run with one map for all pictures, and an attacker's own pictures."""

    folder: Path

    def attack(self, name: str, out: str, *further: object) -> Result:
        given = {"release": "obfuscated", "record": "record", "images": "images.npz", "own": "own.npz"}
        arguments = [name, *(f"--{option}={self.folder / path}" for option, path in given.items())]
        return CliRunner().invoke(app, [*arguments, f"--out={self.folder / out}", *map(str, further)])


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    folder = tmp_path_factory.mktemp("owner")
    rng = np.random.default_rng(0)
    for name, count in (("images", 30), ("own", 40)):
        shapes = gaussian_filter(rng.normal(size=(count, 16, 16)), (0, 2, 2))
        pictures = np.clip(120 + 350 * shapes, 0, 255).astype(np.uint8)
        np.savez(folder / f"{name}.npz", images=pictures, label=np.array(["a", "b"] * (count // 2)))
    with Collection.open(folder / "own.npz") as own:
        own.scan()
        model = Obfuscation.fit(own, folder / "model", size=16, encoder="none", map_scope="key")
    key = Key.fresh()
    key.write(folder / "key.json")
    with Collection.open(folder / "images.npz") as images:
        images.scan()
        obfuscate_folder(images, model, key, folder / "obfuscated", folder / "record")
    return Owner(folder)


def test_known_pairs_give_pictures_a_sheet_and_figures(owner: Owner) -> None:
    ran = owner.attack("known-pairs", "pairs", "--setting=same-key", "--known-pairs=10", "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    out = owner.folder / "pairs"
    assert told == json.loads((out / "figures.json").read_text())
    assert (told["claim"], told["guarantee"], told["targets"], told["known_pairs"]) == (EMPIRICAL, None, 20, 10)
    assert told["released"] > told["negative"]
    assert told["ssim_with_10_pairs"] == told["released"]
    named = {path.name for path in (out / "reconstructions").iterdir()}
    assert len(named) == 20
    assert named < {path.name for path in (owner.folder / "obfuscated" / "images").iterdir()}
    assert (out / "sheet.png").stat().st_size > 1000
    assert out.stat().st_mode & 0o077 == 0


def test_chosen_plaintext_asks_the_owners_machine(owner: Owner) -> None:
    machine = [f"--model={owner.folder / 'model'}", f"--key={owner.folder / 'key.json'}"]
    assert owner.attack("grey-ramp", "ramp", *machine).exit_code == 0
    told = json.loads((owner.folder / "ramp" / "figures.json").read_text())
    assert told["bits_after"] < told["bits_before"] - 3
    assert "must be the owner's machine" in str(owner.attack("grey-ramp", "none").exception)


def test_the_attacker_makes_pairs_of_its_own(owner: Owner) -> None:
    model = f"--model={owner.folder / 'model'}"
    told = json.loads(owner.attack("histogram-attribute", "counts", model, "--json").stdout)
    assert (told["targets"], told["known_pairs"], told["chance"]) == (30, 10, 0.5)
    assert not (owner.folder / "counts" / "sheet.png").exists()


@pytest.mark.parametrize(("scope", "batch", "groups"), [("image", 9, 24), ("batch", 5, 5), ("key", 9, 1)])
def test_the_attacker_is_told_who_shares_a_map(
    tmp_path: Path, owner: Owner, scope: str, batch: int, groups: int
) -> None:
    """Two pictures share one if and only if every level that both have became the same."""
    with Collection.open(owner.folder / "own.npz") as own, Collection.open(owner.folder / "images.npz") as images:
        own.scan()
        images.scan()
        maps: dict[str, Any] = {"map_scope": scope, "map_batch": batch, "map_levels": 256}
        model = Obfuscation.fit(own, tmp_path / "model", size=16, encoder="none", **maps)
        obfuscate_folder(images, model, Key.fresh(), tmp_path / "out", tmp_path / "record")
        given = (tmp_path / "out", tmp_path / "record", images, own, np.random.default_rng(0))
        target = open_attacked(*given, setting="informed", pictures=24).target
    assert len(target.view.groups) == groups
    tables = [dict(zip(plain.ravel().tolist(), seen.ravel().tolist(), strict=True)) for plain, seen in both(target)]
    group_of = {int(row): number for number, rows in enumerate(target.view.groups) for row in rows}
    for one, other in combinations(range(24), 2):
        agree = all(tables[other][level] == became for level, became in tables[one].items() if level in tables[other])
        assert agree == (group_of[one] == group_of[other])


def both(target: ObfuscatedSet) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return zip(target.originals, target.view.obfuscated, strict=True)


def test_every_output_says_what_it_is(owner: Owner) -> None:
    ran = owner.attack("rank-matching", "rank", "--pictures=5")
    assert EMPIRICAL in ran.stdout
    assert EMPIRICAL in (owner.folder / "rank" / "figures.json").read_text()


def test_wrong_use_is_told_before_anything_is_written(owner: Owner, tmp_path: Path) -> None:
    of_a_release = tmp_path / "of a release"
    ImageLog.create(of_a_release).write_job({"out": "elsewhere"})
    for name, further, told in (
        ("guessing", [], "attack on obfuscated pictures must be one of "),
        ("key-reuse", ["--setting=lucky"], "--setting must be one of informed, uninformed, same-key, got 'lucky'"),
        ("key-reuse", [f"--key={owner.folder / 'key.json'}"], "--key must go with --model"),
        ("known-pairs", ["--setting=same-key", "--known-pairs=30"], "known pairs must leave a target"),
        (
            "key-reuse",
            [f"--images={owner.folder / 'own.npz'}", f"--own={owner.folder / 'images.npz'}"],
            "IMAGES must hold the 30 originals of RECORD",
        ),
        ("key-reuse", [f"--own={owner.folder / 'images.npz'}"], "--own must hold other pictures than --images"),
        ("key-reuse", ["--seed=-1"], "--seed must be 0 to "),
        ("key-reuse", [f"--record={tmp_path}"], "RECORD must be a folder"),
        (
            "key-reuse",
            [f"--record={of_a_release}"],
            "RECORD must be written by `veilray obfuscate`, got one of a release",
        ),
    ):
        ran = owner.attack(name, "wrong", *further)
        assert told in str(ran.exception)
        assert not (owner.folder / "wrong").exists()
    assert "must be a new folder" in str(owner.attack("key-reuse", "record").exception)


def test_attacked_is_never_put_into_what_goes_to_the_cloud(owner: Owner) -> None:
    before = sorted((owner.folder / "obfuscated").iterdir())
    ran = owner.attack("edge-leak", "obfuscated/attacked")
    assert "ATTACKED must lie outside OBFUSCATED" in str(ran.exception)
    assert sorted((owner.folder / "obfuscated").iterdir()) == before


def test_chosen_plaintext_needs_the_key_of_the_targets(owner: Owner, tmp_path: Path) -> None:
    """Another key's maps say nothing of these pictures: the attack would look harmless."""
    Key.fresh().write(tmp_path / "key")
    ran = owner.attack("grey-ramp", "foreign", f"--model={owner.folder / 'model'}", f"--key={tmp_path / 'key'}")
    assert "KEY must be the one of" in str(ran.exception)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("record.sqlite", b"garbage" * 1000),
        ("job.json", b"{"),
        ("job.json", b"[1]"),
        ("job.json", b'{"kind": "obfuscation"}'),
    ],
)
def test_a_damaged_record_is_named(owner: Owner, tmp_path: Path, file: str, content: bytes) -> None:
    record = Path(shutil.copytree(owner.folder / "record", tmp_path / "record"))
    (record / file).write_bytes(content)
    ran = owner.attack("edge-leak", "damaged", f"--record={record}")
    assert "RECORD must be whole" in str(ran.exception)
    assert not (owner.folder / "damaged").exists()


def test_a_damaged_list_of_pictures_is_named(owner: Owner, tmp_path: Path) -> None:
    release = Path(shutil.copytree(owner.folder / "obfuscated", tmp_path / "obfuscated"))
    (release / "obfuscated.json").write_text("{}")
    assert "must be that of `veilray obfuscate`" in str(
        owner.attack("edge-leak", "x", f"--release={release}").exception
    )


def test_what_fails_leaves_nothing(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("veilray.cli.attack._write", full)
    before = set(owner.folder.iterdir())
    assert "No space" in str(owner.attack("edge-leak", "lost").exception)
    assert set(owner.folder.iterdir()) == before
