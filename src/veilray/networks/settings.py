"""How long and how fast to train: the settings that all trainings share, under one name each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["TrainingSettings", "check_seed"]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train, fixed before the data is seen.

    Args:
        epochs: passes over the training data, at most.
        batch_size: examples a step.
        learning_rate: the highest one.
        weight_decay: of AdamW (Loshchilov and Hutter 2019).
        seed: of whatever the training draws. Not a release's randomness.
        max_minutes: stop after so many minutes; None: never.

    Raises:
        ValueError: when a value is outside its range.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    seed: int = 0
    max_minutes: float | None = None

    most: ClassVar[dict[str, float]] = {
        "epochs": 10**6,
        "batch_size": 2**20,
        "learning_rate": 1,
        "max_minutes": 60 * 24 * 365,
    }
    """Adam moves every weight by about the rate at every step, so a rate above 1 cannot train. The others are far above
    what anybody waits for: a number beyond them is a slip."""

    def __post_init__(self) -> None:
        for name, most in self.most.items():
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
            if value is not None and not value <= most:
                raise ValueError(f"{name} must be at most {most:,}, got {value:g}")
        self._check_share("weight_decay")
        check_seed(self.seed)

    def _check_share(self, name: str) -> None:
        value: Any = getattr(self, name)
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1), got {value}")


def check_seed(seed: int) -> None:
    """Raises ValueError for a seed that is no unsigned number of 32 bits, as every seed of this project is."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be 0 to {2**32 - 1}, got {seed}")
