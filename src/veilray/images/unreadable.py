"""A file that is refused: what decoders raise becomes one of a few fixed reasons, which tell nothing of the pixels."""

from __future__ import annotations

import errno
import struct
import zlib

__all__ = ["DAMAGED", "Unreadable", "refusal"]


class Unreadable(ValueError):
    """A file is refused by a format rule. The message is the reason: no path and no pixel-derived number in it."""


DAMAGED = (
    OSError,
    SyntaxError,  # Pillow's PNG reader for a broken chunk
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What decoders raise on a file that is not what it says."""

_FILE_FAULTS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "file is absent",
    errno.ENOTDIR: "file is absent",
    errno.EISDIR: "is a folder",
    errno.ELOOP: "is a symbolic link",
    errno.ENAMETOOLONG: "name is too long",
    errno.EINVAL: "truncated or damaged",  # a seek before the start, asked for by a false offset
    errno.EIO: "storage does not return its bytes",
}


def refusal(error: BaseException) -> Unreadable:
    """Turn what a decoder raised into a fixed reason.

    The decoder's own text is dropped: it may count bytes or name values that depend on the pixels. A fault of this
    machine (disk full, too many open files) is not the file's and is raised again.
    """
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno not in _FILE_FAULTS:
            raise error
        return Unreadable(f"cannot be read: {_FILE_FAULTS[error.errno]}")
    return Unreadable("cannot be decoded: truncated or damaged")
