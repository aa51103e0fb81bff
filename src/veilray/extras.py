"""Libraries that only some jobs need, imported when they are first used; a missing one is named with its cure."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["needed"]


def needed(module: str, extra: str, job: str) -> Any:
    """Import a module of an extra.

    Args:
        module: such as `matplotlib.figure`.
        extra: of the distribution, such as `plots`.
        job: what it is needed for, in words.

    Raises:
        ImportError: with the cure, where it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ImportError(
            f"{module.partition('.')[0]} must be installed to {job}: pip install 'veilray[{extra}]'"
        ) from None
