"""Where the ledger lies: one place for one custodian, whatever the working directory.

Budgets add up within one ledger. A path that means another file in each working directory is a new ledger, and a new
budget, in each. So a standing setting must be absolute, and what is given on the spot is resolved when it is given.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

__all__ = ["default_ledger", "ledger_path"]

_VARIABLE = "VEILRAY_LEDGER"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two signs or more: one would be the drive of a path
_SQLITE = "sqlite:///"


def ledger_path(given: str | os.PathLike[str] | None = None) -> Path:
    """The absolute path of a ledger.

    Args:
        given: a path, `~` allowed, or a URL `sqlite:///PATH` (four slashes for an absolute path, as in SQLAlchemy); a
            relative one is taken from the working directory. None: `default_ledger`.

    Raises:
        ValueError: for the URL of another database, of one in memory, or of what is no file; for an unknown user.
    """
    return default_ledger() if given is None else _expanded(os.fspath(given), "ledger").absolute()


def default_ledger() -> Path:
    """`$VEILRAY_LEDGER`, else `ledger.sqlite` in the user's data folder.

    Raises:
        ValueError: as `ledger_path`, and for a relative path: it would be another ledger in each working directory.
    """
    told = os.environ.get(_VARIABLE)
    if not told:
        return Path(platformdirs.user_data_dir("veilray")).absolute() / "ledger.sqlite"
    path = _expanded(told, f"${_VARIABLE}")
    if not path.is_absolute():
        raise ValueError(
            f"${_VARIABLE} must be an absolute path, got {told}: a relative one is another ledger, with another "
            f'budget, in each working directory. Write the whole path, such as {_VARIABLE}="$PWD/{path.name}"'
        )
    return path


def _expanded(text: str, name: str) -> Path:
    """The path that a text names, without its `~`."""
    if not text:
        raise ValueError(f"{name} must be a path, got empty text")
    url = _URL.match(text)
    if url is not None:
        text = _database(text, url[1], name)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError(f"{name} must be a path, got {text!r}: {error}") from None


def _database(text: str, scheme: str, name: str) -> str:
    """The file of a SQLite URL."""
    if scheme.lower() != "sqlite":
        raise ValueError(f"{name} must be a path or sqlite:///PATH, got a URL of {scheme}: ledgers are SQLite files")
    file = text[len(_SQLITE) :]
    if not text.lower().startswith(_SQLITE) or not file or file.startswith(":memory:") or "?" in file:
        raise ValueError(f"{name} must be a path or sqlite:///PATH of a file that stays, got {text!r}")
    return file
