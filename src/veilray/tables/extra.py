"""The libraries of the extra `tables`, imported when they are first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["needed"]


def needed(module: str) -> Any:
    """Import a module of the extra; raises ImportError with the cure when it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise ImportError("tables must be installed to read a table: pip install 'veilray[tables]'") from None
