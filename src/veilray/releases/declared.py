"""Declared conditions: the named facts that a conditional network is told, and the public sets they are taken from.

A category has a public list of levels, a number has public bounds. Neither is ever read off the images that are being
released: the levels are those of the public training images, or given, and the bounds are given. A fact that is not
known, and a level that the network was never shown, tell it nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import torch

from veilray.flows import Condition, ConditionConfig
from veilray.images import ImageRef
from veilray.privacy import exact
from veilray.privacy.bounded_number import check_bounds

__all__ = ["Declared", "DeclaredCondition", "Facts", "facts_of", "parse_bounds"]

Facts: TypeAlias = Sequence[Mapping[str, str]]
"""What is known of each image: condition name to value, as text. A name that is missing, or empty text: not known."""

_MISSING = -1
_MOST_LEVELS = 256


@dataclass(frozen=True)
class DeclaredCondition:
    """One condition: a category of `levels`, or a number within `bounds`. Exactly one of the two is given.

    Raises:
        ValueError: for none or both, fewer than two levels or equal ones, or bounds that are not low < high or that no
            release could draw within.
    """

    name: str
    levels: tuple[str, ...] = ()
    bounds: tuple[Fraction, Fraction] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("condition must have a name, got empty text")
        if (self.bounds is None) == (not self.levels):
            raise ValueError(
                f"condition {self.name} must have levels or bounds, got {'both' if self.levels else 'none'}"
            )
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds of {self.name} must be low:high with low < high, got {_text(self.bounds)}")
        if self.bounds is not None:
            check_bounds(*self.bounds, f"bounds of {self.name}")  # as a release will: sooner is better
        if self.bounds is None and not 2 <= len(set(self.levels)) == len(self.levels) <= _MOST_LEVELS:
            raise ValueError(
                f"levels of {self.name} must be 2 to {_MOST_LEVELS} different ones, got {len(self.levels)}: give a "
                f"number its public bounds with --bounds {self.name}=LOW:HIGH"
            )

    def number(self, text: str) -> float:
        """The value on the scale of the network: -1 at the lower bound, 1 at the upper one, NaN where not known.

        Raises:
            ValueError: for text that is no number.
        """
        assert self.bounds is not None
        if not text:
            return math.nan
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{self.name} must be a number, or empty where not known, got other text")
        low, high = self.bounds
        # In exact numbers: two bounds may be one and the same float.
        return float(2 * (min(max(Fraction(value), low), high) - low) / (high - low) - 1)

    def level(self, text: str) -> int:
        """The place of the level; -1 where not known, and for a level that is not in the list."""
        return self.levels.index(text) if text in self.levels else _MISSING

    def allows(self, text: str) -> bool:
        """Whether text is one of the levels, or a number within the bounds."""
        if self.bounds is None:
            return text in self.levels
        try:
            return self.bounds[0] <= Fraction(text) <= self.bounds[1]
        except (ValueError, ZeroDivisionError):
            return False

    @property
    def allowed(self) -> str:
        """What `allows` asks for, in words."""
        if self.bounds is None:
            return f"one of {', '.join(self.levels)}"
        return f"a number from {self.bounds[0]} to {self.bounds[1]}"

    def to_dict(self) -> dict[str, Any]:
        """For the model card."""
        if self.bounds is None:
            return {"name": self.name, "levels": list(self.levels)}
        return {"name": self.name, "bounds": [str(bound) for bound in self.bounds]}


@dataclass(frozen=True)
class Declared:
    """All conditions of a network, in a fixed order.

    Raises:
        ValueError: for no condition, or one name twice.

    Example:
        >>> label = DeclaredCondition("label", ("NORMAL", "PNEUMONIA"))
        >>> declared = Declared((label, DeclaredCondition("age", bounds=(Fraction(0), Fraction(100)))))
        >>> condition = declared.condition([{"label": "PNEUMONIA", "age": "50"}, {"age": ""}])
        >>> condition.categorical.tolist(), condition.continuous.tolist()
        ([[1], [-1]], [[0.0], [nan]])
    """

    conditions: tuple[DeclaredCondition, ...]
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(condition.name for condition in self.conditions)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"conditions must be one or more different names, got {', '.join(names) or 'none'}")
        object.__setattr__(self, "names", names)

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        facts: Facts,
        bounds_of: Mapping[str, tuple[Fraction, Fraction]] | None = None,
    ) -> Declared:
        """Declare conditions of **public** images.

        Args:
            names: of the conditions; `label` is one.
            facts: of the public training images.
            bounds_of: public bounds; a condition with bounds is a number.

        Raises:
            ValueError: for a condition that no image has, bounds of one that is not named, and as above.
        """
        bounds_of = bounds_of or {}
        if strange := sorted(bounds_of.keys() - set(names)):
            raise ValueError(f"bounds must be of {', '.join(names) or 'a condition'}, got {strange[0]}")
        shown = {name: sorted({row.get(name, "") for row in facts} - {""}) for name in names}
        for name in names:
            if not shown[name]:
                known = sorted({key for row in facts for key, value in row.items() if value})
                raise ValueError(f"condition must be one of {', '.join(known) or '(none known)'}, got {name!r}")
        return cls(
            tuple(
                DeclaredCondition(name, bounds=bounds_of[name])
                if name in bounds_of
                else DeclaredCondition(name, tuple(shown[name]))
                for name in names
            )
        )

    def __getitem__(self, name: str) -> DeclaredCondition:
        """The condition of a name. Raises ValueError for another."""
        for condition in self.conditions:
            if condition.name == name:
                return condition
        raise ValueError(f"condition must be one of {', '.join(self.names)}, got {name!r}")

    @property
    def config(self) -> ConditionConfig:
        """What the flow is built for."""
        return ConditionConfig(
            continuous=sum(condition.bounds is not None for condition in self.conditions),
            categorical=tuple(len(condition.levels) for condition in self.conditions if condition.bounds is None),
        )

    @property
    def levels_of(self) -> dict[str, tuple[str, ...]]:
        """The public levels of each category."""
        return {condition.name: condition.levels for condition in self.conditions if condition.bounds is None}

    @property
    def bounds_of(self) -> dict[str, tuple[Fraction, Fraction]]:
        """The public bounds of each number."""
        return {condition.name: condition.bounds for condition in self.conditions if condition.bounds is not None}

    def condition(self, facts: Facts) -> Condition:
        """What the flow is told of each image. Raises ValueError for a number that is none."""
        numbers = [condition for condition in self.conditions if condition.bounds is not None]
        categories = [condition for condition in self.conditions if condition.bounds is None]
        continuous = [[condition.number(row.get(condition.name, "")) for condition in numbers] for row in facts]
        levels = [[condition.level(row.get(condition.name, "")) for condition in categories] for row in facts]
        return Condition(
            torch.tensor(continuous, dtype=torch.float32).reshape(len(facts), len(numbers)),
            torch.tensor(levels, dtype=torch.int64).reshape(len(facts), len(categories)),
        )

    def withheld(self, condition: Condition, share: float, generator: torch.Generator) -> Condition:
        """Take each fact of each row away with chance `share`, so that a network learns what to do without it."""

        def gone(values: torch.Tensor) -> torch.Tensor:
            return torch.rand(values.shape, generator=generator) < share

        numbers, levels = condition.continuous, condition.categorical
        return Condition(numbers.masked_fill(gone(numbers), math.nan), levels.masked_fill(gone(levels), _MISSING))

    def known(self, facts: Facts, name: str) -> np.ndarray:
        """Where the fact is known to the network, `(n,)` bool."""
        condition = self[name]
        if condition.bounds is None:
            return np.array([condition.level(row.get(name, "")) != _MISSING for row in facts], dtype=np.bool_)
        return np.array([not math.isnan(condition.number(row.get(name, ""))) for row in facts], dtype=np.bool_)

    def to_list(self) -> list[dict[str, Any]]:
        """For the model card."""
        return [condition.to_dict() for condition in self.conditions]

    @classmethod
    def from_list(cls, told: Any) -> Declared:
        """Read what `to_list` wrote. Raises ValueError for anything else."""
        try:
            return cls(
                tuple(
                    DeclaredCondition(
                        str(entry["name"]),
                        tuple(str(level) for level in entry.get("levels", ())),
                        None if "bounds" not in entry else _bounds(str(entry["name"]), *entry["bounds"]),
                    )
                    for entry in told
                )
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"conditions must be a list of names with levels or bounds, got another: {error}"
            ) from None


def facts_of(refs: Sequence[ImageRef]) -> list[dict[str, str]]:
    """What is known of each image: its label, and its other conditions."""
    return [{"label": ref.label or "", **ref.conditions} for ref in refs]


def parse_bounds(pairs: Mapping[str, str]) -> dict[str, tuple[Fraction, Fraction]]:
    """Read `LOW:HIGH` of each condition. Raises ValueError for other text."""
    bounds = {}
    for name, text in pairs.items():
        low, colon, high = text.partition(":")
        if not colon:
            raise ValueError(f"bounds of {name} must be LOW:HIGH, such as 0:100, got {text!r}")
        bounds[name] = _bounds(name, low, high)
    return bounds


def _bounds(name: str, low: str, high: str) -> tuple[Fraction, Fraction]:
    return _signed(low, name), _signed(high, name)


def _signed(text: str, name: str) -> Fraction:
    """An exact number of either sign."""
    sign = -1 if text.strip().startswith("-") else 1
    return sign * exact(text.strip().removeprefix("-"), f"bounds of {name}")


def _text(bounds: tuple[Fraction, Fraction]) -> str:
    return f"{bounds[0]}:{bounds[1]}"
