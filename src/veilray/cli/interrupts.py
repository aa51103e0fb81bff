"""A polite end (SIGTERM, as a scheduler sends it) is an interrupt: what is half-made is taken away, as after Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["tidy_when_terminated"]


@contextmanager
def tidy_when_terminated() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM. For the main thread."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
