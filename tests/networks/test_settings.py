"""Settings that cannot train are refused by name."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.networks.settings import TrainingSettings, check_seed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs must be above 0, got 0"),
        ({"epochs": 10**7}, "epochs must be at most 1,000,000"),
        ({"batch_size": 0}, "batch_size must be above 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": 2.0}, "learning_rate must be at most 1, got 2"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ({"weight_decay": -0.1}, r"weight_decay must be in \[0, 1\)"),
        ({"max_minutes": 0}, "max_minutes must be above 0"),
        ({"seed": -1}, "seed must be 0 to 4294967295, got -1"),
    ],
)
def test_settings_that_cannot_train_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**given)  # type: ignore[arg-type]


def test_no_limit_of_time_is_one() -> None:
    assert TrainingSettings(max_minutes=None).max_minutes is None


@given(st.integers(-(2**70), 2**70))
def test_a_seed_is_a_whole_number_of_32_bits(seed: int) -> None:
    if 0 <= seed < 2**32:
        check_seed(seed)
    else:
        with pytest.raises(ValueError, match="seed must be 0 to"):
            check_seed(seed)
