"""Write files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["read_json", "whole_folder", "write_bytes", "write_json"]


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a neighbouring file, synced and then renamed over it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is durable once the folder is synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def whole_folder(out: Path, what: str, mode: int = 0o777) -> Iterator[Path]:
    """A hidden folder beside `out`, renamed to it at the end; on any error or interrupt it is taken away.

    Args:
        what: the folder's name in messages.
        mode: of the folder, less the umask.

    Raises:
        ValueError: where something is there already, or no folder can be made: before any work is done.
    """
    if os.path.lexists(out):
        raise ValueError(f"{what} must be a new folder, got {out}, which exists: choose another --out")
    folder = out.parent / f".{out.name}.{secrets.token_hex(6)}.spool"
    try:
        folder.mkdir(mode=mode, parents=True)
    except OSError as error:
        raise ValueError(f"{what} must be a folder that can be made, got {out}: {error.strerror}") from None
    try:
        yield folder
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, indented, with finite numbers only."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: when the file is missing or not a JSON object; `what` names it in the message.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{what} must be in {path}, got no such file") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{what} must be JSON, got {path}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{what} must be a JSON object, got {path} with a {type(content).__name__}")
    return content
