"""Public rules of selection: which images of a collection are taken, decided by names, keys and order alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from veilray.images.refs import ImageRef
from veilray.text import normal_text
from veilray.text.printable import printable

__all__ = ["first_of_each_patient", "of_split"]

_MOST_SHOWN = 10


def of_split(refs: Sequence[ImageRef], split: str | None, elsewhere: Iterable[str] = ()) -> list[ImageRef]:
    """The images of one part, all of them when none is asked for.

    Args:
        refs: of a collection.
        split: the part that is wanted.
        elsewhere: parts that were left out before, for the message.

    Raises:
        ValueError: no image is of that part. The message lists the parts that there are.
    """
    if split is None:
        return list(refs)
    wanted = normal_text(split)
    taken = [ref for ref in refs if ref.split == wanted]
    if not taken:
        there = sorted({ref.split for ref in refs if ref.split is not None} | set(elsewhere))
        if not there:
            raise ValueError(
                f"split must be left out where IMAGES names none, got {split!r}: give a split column, or folders named "
                "train, val and test"
            )
        shown = ", ".join(map(printable, there[:_MOST_SHOWN])) + (", ..." if len(there) > _MOST_SHOWN else "")
        raise ValueError(f"split must be one of {shown}, got {split!r}")
    return taken


def first_of_each_patient(refs: Sequence[ImageRef], most: int | None) -> list[ImageRef]:
    """The first `most` images of each patient, in the order given; an image without a patient counts by itself."""
    if most is None:
        return list(refs)
    seen: Counter[str] = Counter()
    taken = []
    for ref in refs:
        if ref.patient is not None:
            seen[ref.patient] += 1
            if seen[ref.patient] > most:
                continue
        taken.append(ref)
    return taken
