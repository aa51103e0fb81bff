"""Registries: one line makes a mechanism, method or format known to the CLI and to the test batteries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Names mapped to the things they stand for; an unknown name is refused with the list of known ones.

    Example:
        >>> shapes = Registry[int]("shape")
        >>> _ = shapes.register("square")(4)
        >>> shapes["square"]
        4
        >>> shapes["circle"]
        Traceback (most recent call last):
        ...
        ValueError: shape must be one of square, got 'circle'
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Add an entry under `name`; usable as a decorator. Raises ValueError when the name is taken."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self._kind} name must be new, got {name!r} twice")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise ValueError(
                f"{self._kind} must be one of {', '.join(self._entries) or '(none)'}, got {name!r}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
