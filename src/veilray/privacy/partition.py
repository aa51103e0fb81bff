"""A row cut into consecutive public blocks: how many elements each has, and what share of epsilon it gets.

Sizes and shares are part of the public claim. They are fixed before any record is seen, as a budget made on public
images is (`water_filling.block_shares`).
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from veilray.privacy.exact import exact

__all__ = ["read_shares", "read_sizes"]


def read_sizes(given: Any, dimension: int, smallest: int = 1) -> tuple[int, ...]:
    """The elements of each block: text such as "4,12", as on a command line, or a sequence of whole numbers.

    Raises:
        ValueError: for anything else, a size below `smallest`, or sizes that do not sum to `dimension`.

    Example:
        >>> read_sizes("4,12", 16)
        (4, 12)
    """
    try:
        sizes = tuple(int(str(part)) for part in _parts("sizes", given))
    except ValueError:
        raise ValueError(f"sizes must be whole numbers such as 4,12, got {given!r}") from None
    if not sizes or min(sizes) < smallest:
        raise ValueError(f"sizes must each be at least {smallest}, got {given!r}")
    if sum(sizes) != dimension:
        raise ValueError(f"sizes must sum to the dimension {dimension}, got {given!r}, which sum to {sum(sizes)}")
    return sizes


def read_shares(given: Any, epsilon: Fraction, count: int) -> tuple[Fraction, ...]:
    """The epsilon of each of `count` blocks, exact and at least 0; equal ones where `given` is None.

    Raises:
        ValueError: for floats or negative numbers, another count, or shares that do not sum to `epsilon` exactly.

    Example:
        >>> [str(share) for share in read_shares("3,1/2,0", Fraction(7, 2), 3)]
        ['3', '1/2', '0']
    """
    if given is None:
        shares = (epsilon / count,) * count
    else:
        shares = tuple(exact(part, "shares") for part in _parts("shares", given))
    if len(shares) != count:
        raise ValueError(f"shares must be one for each of the {count} sizes, got {len(shares)}")
    if sum(shares) != epsilon:
        raise ValueError(f"shares must sum to epsilon {epsilon} exactly, got {sum(shares)}")
    return shares


def _parts(name: str, given: Any) -> Iterable[Any]:
    """The parts of an option that is text with commas, as on a command line, or a sequence."""
    if isinstance(given, str):
        return given.split(",")
    if isinstance(given, Iterable):
        return given
    raise ValueError(f"{name} must be numbers with commas between or a sequence, got {given!r}")
