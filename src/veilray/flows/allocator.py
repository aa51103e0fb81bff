"""Keep glibc from handing freed memory back to the kernel between batches.

By default glibc maps every block above 128 KiB to 32 MiB afresh and unmaps it on free, so an encoder that
frees its activations after each batch has the kernel zero the same pages again for the next: about half of
the time of a process that only encodes and decodes (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# From glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3

LARGEST_BLOCK = 2**30
"""Blocks up to 1 GiB come from the heap; the parameter is an int, and glibc refuses none of these."""

KEPT = 2**31 - 1
"""Freed memory at the top of the heap that is kept: up to 2 GiB."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next batch; call it once, at the start of a process.

    Returns:
        True when the setting was made; False on systems without glibc, where nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  absent from other C libraries, whose mallopt differs
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    made = [bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)), bool(mallopt(M_TRIM_THRESHOLD, KEPT))]
    return all(made)
