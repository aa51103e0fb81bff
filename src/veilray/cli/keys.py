"""`veilray keys`: the owner's secrets for obfuscation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from veilray.cli import options
from veilray.cli.output import OUT, print_json
from veilray.places import write_new
from veilray.privacy.guarantee import EMPIRICAL

if TYPE_CHECKING:
    from veilray.methods.obfuscation import Key

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help=f"The owner's secrets for obfuscation ({EMPIRICAL}).")

KeyFile: TypeAlias = Annotated[Path, typer.Argument(help="KEY: a file made by `veilray keys`.")]
NewKey: TypeAlias = Annotated[Path, typer.Option(help="KEY: the new file, mode 0600. It never leaves the house.")]


@app.callback()
def keys() -> None:
    """Make, replace and name the owner's secrets for obfuscation (empirical, no formal guarantee)."""


@app.command("new")
def new(out: NewKey, as_json: options.AsJson = False) -> int:
    """Make a key: 32 bytes from the operating system (empirical, no formal guarantee)."""
    from veilray.methods.obfuscation import new_key

    return _tell(new_key(out), out, as_json)


@app.command("rotate")
def rotate(key: KeyFile, out: NewKey, as_json: options.AsJson = False) -> int:
    """Make a key that takes another's place; the old file stays (empirical, no formal guarantee)."""
    from veilray.methods.obfuscation import rotate_key

    return _tell(rotate_key(key, out), out, as_json)


@app.command("show-public")
def show_public(
    key: KeyFile,
    out: Annotated[Path | None, typer.Option(help="Also write the public part to this new file.")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Show the public part of a key: never the secret (empirical, no formal guarantee)."""
    import json

    from veilray.methods.obfuscation import read_key

    known = read_key(key)
    if out is not None:
        write_new("--out", out, (json.dumps(known.public(), indent=2) + "\n").encode())
    return _tell(known, key, as_json)


def _tell(key: Key, path: Path, as_json: bool) -> int:
    if as_json:
        print_json({"file": str(path), **key.public()})
        return 0
    replaces = f", replaces {key.replaces}" if key.replaces else ""
    OUT.print(f"key {key.identifier}, made on {key.created}{replaces}: {path}", highlight=False, soft_wrap=True)
    OUT.print(f"Obfuscation: {EMPIRICAL}.", highlight=False)
    return 0
