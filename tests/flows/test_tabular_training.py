"""Training on rows: the likelihood rises, labels help, a stopped run resumes bit for bit, mistakes are named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import QuantileTransformer

from veilray.flows import (
    Condition,
    ConditionConfig,
    Progress,
    RowTraining,
    RowTrainingResult,
    TabularConfig,
    TabularFlow,
    train_rows,
)
from veilray.flows.trainer import LOG_FILE

QUICK = RowTraining(epochs=3, batch_size=64, learning_rate=2e-3, warmup_epochs=0.5, ema_decay=0.9, seed=3)
SHAPE = TabularConfig(4, couplings=2, width=16)
SEX = ConditionConfig(0, (2,))


def table(n: int, seed: int) -> tuple[np.ndarray, Condition]:
    """Four correlated columns whose mean depends on a level."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 2, n)
    base = rng.normal(size=(n, 1)) * np.array([0.8, 0.8, 0.8, 0.0])
    rows = base + 0.3 * rng.normal(size=(n, 4)) + np.where(level, 0.5, -0.5)[:, None]
    return rows, Condition.of(categorical=level)


ROWS, LEVELS = table(300, seed=0)
HELD_OUT, HELD_OUT_LEVELS = table(100, seed=1)


def dequantised(epoch: int, generator: np.random.Generator) -> np.ndarray:
    """The rows of the epoch, with fresh noise."""
    return ROWS + 0.05 * epoch + 0.1 * generator.random(ROWS.shape)


def fit(folder: Path, config: RowTraining = QUICK, seed: int = 1, **options: object) -> RowTrainingResult:
    return fitted(folder, config, seed, **options)[0]


def fitted(
    folder: Path, config: RowTraining = QUICK, seed: int = 1, **options: object
) -> tuple[RowTrainingResult, TabularFlow]:
    flow = TabularFlow(SHAPE, SEX, seed=seed)
    result = train_rows(flow, dequantised, LEVELS, HELD_OUT, HELD_OUT_LEVELS, config, folder, **options)  # type: ignore[arg-type]
    return result, flow


def same_weights(one: TabularFlow, other: TabularFlow) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def log(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


class Interrupted(Exception):
    """Stands for the user's Ctrl-C."""


def test_a_real_table_becomes_likelier_than_independent_columns(tmp_path: Path) -> None:
    values, diagnosis = load_breast_cancer(return_X_y=True)
    rows = QuantileTransformer(n_quantiles=100, output_distribution="normal", random_state=0).fit_transform(values)
    rows = rows[:, :10].clip(-3, 3)
    told = Condition.of(categorical=diagnosis)
    flow = TabularFlow(TabularConfig(10, couplings=4, width=32), SEX, seed=1)
    config = replace(QUICK, epochs=12, warmup_epochs=1)
    before = flow.log_prob(torch.as_tensor(rows[450:]).float(), told[450:]).mean()
    result = train_rows(flow, rows[:450], told[:450], rows[450:], told[450:], config, tmp_path)
    with torch.no_grad():
        after = flow.log_prob(torch.as_tensor(rows[450:]).float(), told[450:]).double().mean()
    assert after > before + 3  # nats a row
    assert result.validation_bits == pytest.approx(-float(after) / math.log(2) / 10, abs=1e-5)
    assert result.validation_bits == min(line["validation_bits"] for line in log(tmp_path))
    assert (result.training_rows, result.validation_rows) == (450, 119)


def test_latents_of_a_fitted_flow_are_nearly_standard_normal(tmp_path: Path) -> None:
    rows, levels = table(2000, seed=5)
    flow = TabularFlow(replace(SHAPE, couplings=4), SEX)
    train_rows(flow, rows, levels, HELD_OUT, HELD_OUT_LEVELS, replace(QUICK, epochs=8), tmp_path)
    z = flow.encode(*table(2000, seed=6))
    assert np.abs(z.mean(axis=0)).max() < 0.15
    assert np.abs(np.cov(z.T) - np.eye(4)).max() < 0.2


def test_true_levels_are_likelier_than_shuffled_ones(tmp_path: Path) -> None:
    _, flow = fitted(tmp_path, replace(QUICK, epochs=10))
    rows = torch.as_tensor(HELD_OUT).float()
    with torch.no_grad():
        true, unknown, false = (
            float(flow.log_prob(rows, given).mean())
            for given in (HELD_OUT_LEVELS, None, Condition.of(categorical=1 - HELD_OUT_LEVELS.categorical))
        )
    assert true > unknown > false


@pytest.mark.parametrize(("untold", "expected"), [(0.0, 0.0), (0.5, 0.5)])
def test_conditions_are_withheld_with_the_chance_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untold: float, expected: float
) -> None:
    seen: list[torch.Tensor] = []
    real = TabularFlow.loss

    def loss(self: TabularFlow, rows: torch.Tensor, condition: Condition | None = None) -> torch.Tensor:
        assert condition is not None
        if torch.is_grad_enabled():
            seen.append(condition.categorical)
        return real(self, rows, condition)

    monkeypatch.setattr(TabularFlow, "loss", loss)
    fit(tmp_path, replace(QUICK, epochs=5, untold=untold))
    assert float((torch.cat(seen) == -1).double().mean()) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_training_rows_are_noised_as_asked_and_held_out_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: float
) -> None:
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    real = TabularFlow.loss

    def loss(self: TabularFlow, rows: torch.Tensor, condition: Condition | None = None) -> torch.Tensor:
        seen[torch.is_grad_enabled()].append(rows)
        return real(self, rows, condition)

    monkeypatch.setattr(TabularFlow, "loss", loss)
    config = replace(QUICK, epochs=5, input_noise=noise)
    train_rows(TabularFlow(SHAPE), np.zeros((256, 4)), None, HELD_OUT, None, config, tmp_path)
    steps = torch.stack(seen[True])
    assert float(steps.double().std()) == pytest.approx(noise, rel=0.05)
    assert noise == 0 or len(steps.unique(dim=0)) == len(steps)
    assert all(torch.equal(rows, torch.as_tensor(HELD_OUT).float()) for rows in seen[False])


def test_conditions_may_come_from_a_function(tmp_path: Path) -> None:
    def source(chosen: np.ndarray, generator: torch.Generator) -> Condition:
        return Condition.of(LEVELS[chosen].categorical + 0.1 * torch.randn(len(chosen), 1, generator=generator))

    flows = [TabularFlow(SHAPE, ConditionConfig(1)) for _ in range(2)]
    given = Condition.of(HELD_OUT_LEVELS.categorical.float())
    for index, flow in enumerate(flows):
        train_rows(flow, ROWS, source, HELD_OUT, given, replace(QUICK, epochs=1), tmp_path / str(index))
    assert same_weights(*flows)


def test_a_flow_without_conditions_trains(tmp_path: Path) -> None:
    flow = TabularFlow(SHAPE)
    train_rows(flow, ROWS, None, HELD_OUT, None, QUICK, tmp_path)
    lines = [line["validation_bits"] for line in log(tmp_path)]
    assert lines == sorted(lines, reverse=True)


@pytest.mark.parametrize("stop", [(1, 4), (2, 2)], ids=["after an epoch", "within an epoch"])
def test_an_interrupted_run_resumes_bit_for_bit(tmp_path: Path, stop: tuple[int, int]) -> None:
    expected, whole = fitted(tmp_path / "whole")

    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.batch) == stop and (progress.validation_bits is not None or stop[0] == 2):
            raise Interrupted

    often = replace(QUICK, checkpoint_minutes=1e-9)
    with pytest.raises(Interrupted):
        fit(tmp_path / "broken", often, on_progress=interrupt)
    result, resumed = fitted(tmp_path / "broken", seed=99, resume=True)
    assert same_weights(resumed, whole)
    assert replace(result, seconds=0) == replace(expected, seconds=0)
    assert log(tmp_path / "broken") == log(tmp_path / "whole")


def test_a_time_limit_stops_with_a_checkpoint_that_resumes(tmp_path: Path) -> None:
    _, whole = fitted(tmp_path / "whole")
    assert fit(tmp_path / "limited", replace(QUICK, max_minutes=1e-9)).stopped == "time"
    result, resumed = fitted(tmp_path / "limited", resume=True)
    assert result.stopped == "epochs"
    assert same_weights(resumed, whole)


def test_rows_are_drawn_afresh_each_epoch_from_a_generator_of_its_own(tmp_path: Path) -> None:
    draws: list[tuple[int, float]] = []

    def rows(epoch: int, generator: np.random.Generator) -> np.ndarray:
        draws.append((epoch, float(generator.random())))
        return ROWS

    for folder in ("one", "two"):
        train_rows(TabularFlow(SHAPE), rows, None, HELD_OUT, None, QUICK, tmp_path / folder)
    assert [epoch for epoch, _ in draws] == [0, 1, 2, 0, 1, 2]
    assert draws[:3] == draws[3:]
    assert len({draw for _, draw in draws}) == 3


def test_the_rate_warms_up_and_falls_to_zero(tmp_path: Path) -> None:
    seen: list[float] = []
    fit(
        tmp_path,
        replace(QUICK, epochs=4, warmup_epochs=1),
        on_progress=lambda progress: seen.append(progress.learning_rate),
    )
    assert seen[0] < max(seen) == QUICK.learning_rate
    assert seen[-1] == pytest.approx(0, abs=1e-9)


def test_patience_stops_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    flow = TabularFlow(SHAPE)
    foreign = np.random.default_rng(0).normal(size=(50, 4)) * 3
    result = train_rows(flow, ROWS, None, foreign, None, replace(QUICK, epochs=40, patience=2), tmp_path)
    assert result.stopped == "patience"
    assert result.epochs == result.best_epoch + 2


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TabularFlow, "loss", lambda _, rows, *__: rows.sum(1) * float("nan"))
    with pytest.raises(ValueError, match=r"loss must be finite, got nan .* use --learning-rate"):
        fit(tmp_path, QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "training must be as in the checkpoint"),
        ({"epochs": 9}, "training must be as in the checkpoint"),
        ({"untold": 0.2}, "training must be as in the checkpoint"),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, change: dict[str, float], message: str) -> None:
    fit(tmp_path, QUICK)
    with pytest.raises(ValueError, match="use --resume or another"):
        fit(tmp_path, QUICK)
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, replace(QUICK, **change), resume=True)  # type: ignore[arg-type]


def test_mistakes_are_named(tmp_path: Path) -> None:
    told, untold = TabularFlow(SHAPE, SEX), TabularFlow(SHAPE)
    for arguments, message in (
        ((untold, ROWS[:, :3], None, HELD_OUT, None), r"rows must be \(n, 4\), one or more, got \(300, 3\)"),
        ((untold, ROWS, None, HELD_OUT[:0], None), r"validation rows must be \(n, 4\), one or more, got \(0, 4\)"),
        ((untold, ROWS * np.nan, None, HELD_OUT, None), "rows must be finite"),
        ((untold, ROWS, LEVELS, HELD_OUT, None), "must be None for a flow that takes none"),
        ((told, ROWS, LEVELS, HELD_OUT, None), "must be given for both parts"),
        ((told, ROWS, LEVELS[:9], HELD_OUT, HELD_OUT_LEVELS), "300, got 9"),
        ((untold, ROWS[:50], None, HELD_OUT, None), "batch_size must be at most the 50 rows, got 64"),
        ((untold, lambda epoch, _: ROWS[epoch:], None, HELD_OUT, None), "300 in every epoch, got 299"),
    ):
        with pytest.raises(ValueError, match=message):
            train_rows(*arguments, QUICK, tmp_path / message[:9])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("untold", 1.0), ("untold", -0.1), ("input_noise", -0.1), ("input_noise", 2.0), ("epochs", 0)]
)
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        replace(QUICK, **{field: value})  # type: ignore[arg-type]
