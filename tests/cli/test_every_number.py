"""Every option that takes a number, of every command, with every number that a careless or hostile hand types.

The options are found in the command line itself, so one that is added tomorrow is tested tomorrow.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import typer
from typer.models import OptionInfo

from veilray.cli.main import app
from veilray.tables import Records

Run = Callable[..., Any]

HOSTILE = ("0", "-1", "1e308", "nan", "inf", str(10**30), "x", "1.5")
EXACT = {"epsilon", "delta", "clip", "radius", "label_epsilon", "for_epsilon"}
"""Numbers that are taken as text, to be exact."""
SECONDS = 20
TINY_FLOW = ("--size", 8, "--levels", 1, "--steps", 1, "--width", 4, "--epochs", 1)


def commands(app: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Callable[..., int]]]:
    """The words of each command, and its function."""
    for command in app.registered_commands:
        assert command.name and command.callback
        yield (*path, command.name), command.callback
    for group in app.registered_groups:
        assert group.name and group.typer_instance
        yield from commands(group.typer_instance, (*path, group.name))


def numeric(function: Callable[..., int]) -> Iterator[str]:
    """Its options that take a number, as they are written."""
    for name, hint in get_type_hints(function, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        kind, info = get_args(hint)[:2]
        plain = {kind, *get_args(kind)} & {int, float}
        if isinstance(info, OptionInfo) and (plain or name in EXACT):
            written = [word for word in info.param_decls or () if word.startswith("--")]
            yield written[0] if written else "--" + name.replace("_", "-")


OPTIONS = [(path, option) for path, function in commands(app) for option in numeric(function)]


@pytest.fixture(scope="module")
def words(
    tmp_path_factory: pytest.TempPathFactory,
    public_digits: Path,
    pictures: Path,
    model: Path,
    house: Path,
    table_file: Callable[..., Path],
    table_model: Path,
    people: Callable[..., Records],
) -> dict[str, list[list[object]]]:
    """What makes each command run in no time; where it works on pictures and on tables, both."""
    folder = tmp_path_factory.mktemp("words")
    few = folder / "few.npz"
    with np.load(public_digits) as digits:
        np.savez(few, **{name: digits[name][:60] for name in digits.files})
    own = folder / "own.npz"
    np.savez(own, images=np.random.default_rng(5).integers(0, 256, (12, 16, 16)).astype(np.uint8))
    schema = folder / "schema.yaml"
    people(1).schema.to_yaml(schema)
    table = table_file(40, 3)
    kept = [few, *TINY_FLOW, "--training-data", "public", "--statement", "digits"]
    claim = ["--epsilon", 4]
    attacked = ["--release", house / "out", "--record", house / "record", "--images", house / "private.npz"]
    rows = ["--couplings", 1, "--width", 4, "--epochs", 1]
    return {
        "fit dp-glow": [kept],
        "fit directional": [[*kept, "--content", "pixels", "--keep", 2]],
        "fit selection": [[*kept, "--content", "pixels", "--keep", 2]],
        "fit cadp": [[*kept, "--keep", 2], [table, "--schema", schema, *rows]],
        "fit obfuscation": [[few, "--size", 8, "--encoder", "vae", "--features", 2, "--epochs", 1]],
        "release": [
            [pictures, "--model", model, *claim, "--dry-run"],
            [table, "--model", table_model, *claim, "--dry-run"],
        ],
        "check": [[pictures, "--model", model, *claim], [table, "--model", table_model, *claim]],
        "audit": [["--mechanism", "laplace", *claim, "--trials", 1000, "--dimension", 1]],
        "demo": [["--data", folder / "no-such-folder"]],
        "obfuscate": [[house / "private.npz", "--model", house / "batches", "--key", house / "key"]],
        "cloud-train": [[house / "out", "--epochs", 1]],
        "attack": [["rank-matching", *attacked, "--own", own, "--pictures", 4]],
        "ledger init": [["--epsilon", 1]],
    }


@pytest.fixture(autouse=True)
def never_long() -> Iterator[None]:
    """A number that would keep a machine busy for ever must be refused, not obeyed."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"still running after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_every_command_with_numbers_is_known_here(words: dict[str, list[list[object]]]) -> None:
    assert {" ".join(path) for path, _ in OPTIONS} == words.keys()
    assert len(OPTIONS) > 70


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    ("path", "option"), OPTIONS, ids=lambda part: part if isinstance(part, str) else "-".join(part)
)
def test_a_number_is_taken_or_refused_in_one_sentence(
    veilray: Run, words: dict[str, list[list[object]]], tmp_path: Path, path: tuple[str, ...], option: str, value: str
) -> None:
    for number, given in enumerate(words[" ".join(path)]):
        out = [] if path[0] in ("audit", "check", "ledger") else ["--out", tmp_path / f"out-{number}"]
        ran = veilray(*path, *given, *out, f"{option}={value}")
        assert ran.code in (0, 1, 2, 3), ran.err
        assert "Traceback" not in ran.err + ran.out
        if ran.code > 1:
            refused = [line for line in ran.err.splitlines() if line.startswith("veilray: ")]
            assert len(refused) == 1, ran.err
            assert ran.err.splitlines()[-1] == refused[0], ran.err
            assert len(refused[0]) < 500, ran.err
            assert not list(tmp_path.glob(f"out-{number}*")), "what was refused left something"
            assert not list(tmp_path.glob(f".out-{number}*")), "what was refused left something"
        else:
            assert value in ("0", "1.5", str(10**30), "1e308", "inf", "-1"), f"{value} was taken: {ran.out}"


@pytest.mark.parametrize("method", ["dp-glow", "directional", "selection", "cadp", "obfuscation"])
def test_a_number_is_refused_before_images_are_read(veilray: Run, tmp_path: Path, method: str) -> None:
    ran = veilray("fit", method, tmp_path / "nowhere", "--out", tmp_path / "m", "--size", 8, "--epochs", 0)
    assert (ran.code, "epochs must be" in ran.err) == (2, True), ran.err
