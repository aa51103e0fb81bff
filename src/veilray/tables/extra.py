"""The libraries of the extra `tables`, imported when they are first needed."""

from __future__ import annotations

from typing import Any

from veilray import extras

__all__ = ["needed"]


def needed(module: str) -> Any:
    """Import a module of the extra; raises ImportError with the cure when it is not installed."""
    return extras.needed(module, "tables", "read a table")
