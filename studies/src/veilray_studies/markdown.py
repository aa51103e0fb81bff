"""A table as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["markdown"]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """`lines` of cells, the first one the head; no line break at the end."""
    ruled = [lines[0], ("---",) * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)
