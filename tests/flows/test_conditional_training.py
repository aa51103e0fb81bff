"""Training under conditions: they help when they are true, and a stopped run resumes with the same noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from veilray.flows import (
    Condition,
    ConditionalGlow,
    ConditionConfig,
    Conditions,
    FlowTraining,
    Glow,
    GlowConfig,
    Progress,
    TrainingResult,
    train,
)

SHAPE = GlowConfig(size=8, channels=1, bits=8, levels=1, steps=3, width=16)
QUICK = FlowTraining(epochs=2, batch_size=32, learning_rate=2e-3, warmup_epochs=0.5, ema_decay=0.9, seed=3)
CODE = ConditionConfig(2, embedding=16, maps=2)


def codes(images: np.ndarray) -> np.ndarray:
    """Return mean and deviation of each image, roughly standardised."""
    rows = images.reshape(len(images), -1) / 255.0
    return np.stack([4 * (rows.mean(1) - 0.3), 4 * (rows.std(1) - 0.25)], axis=1).astype(np.float32)


def noisy(images: np.ndarray, seen: list[np.ndarray] | None = None) -> Conditions:
    known = torch.as_tensor(codes(images))

    def source(chosen: np.ndarray, generator: torch.Generator) -> Condition:
        noise = 0.3 * torch.randn(len(chosen), known.shape[1], generator=generator)
        if seen is not None:
            seen.append(noise.numpy())
        return Condition.of(known[torch.as_tensor(chosen)] + noise)

    return source


def fit(
    flow: ConditionalGlow,
    images: np.ndarray,
    validation: np.ndarray,
    folder: Path,
    source: Conditions,
    **options: object,
) -> TrainingResult:
    given = Condition.of(codes(validation))
    return train(
        flow,
        images,
        validation,
        QUICK,
        folder,
        conditions=source,
        validation_conditions=given,
        **options,  # type: ignore[arg-type]
    )


def same_weights(one: ConditionalGlow, other: ConditionalGlow) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_true_labels_lower_the_bits_and_steer_the_samples(tmp_path: Path) -> None:
    digits = load_digits()
    chosen = np.isin(digits.target, (0, 1))
    images = (digits.images[chosen] * 15.9).astype(np.uint8)[:, None]
    labels = digits.target[chosen]
    shuffled = np.random.default_rng(0).permutation(labels)
    config = FlowTraining(epochs=8, batch_size=32, learning_rate=3e-3, warmup_epochs=0.5, ema_decay=0.9)
    results: list[TrainingResult] = []
    flows: list[ConditionalGlow] = []
    for index, known in enumerate((labels, shuffled)):
        flow = ConditionalGlow(SHAPE, ConditionConfig(0, (2,), embedding=16), seed=1)
        results.append(
            train(
                flow,
                images[:280],
                images[280:],
                config,
                tmp_path / str(index),
                conditions=lambda rows, _, known=known: Condition.of(categorical=known[:280][rows]),
                validation_conditions=Condition.of(categorical=known[280:]),
            )
        )
        flows.append(flow)
    assert results[0].validation_bits < results[1].validation_bits - 0.02
    # A one is bright in the middle, where a zero has its hole.
    zeros, ones = (
        flows[0].sample(Condition.of(categorical=np.full(64, label)), torch.Generator().manual_seed(0)).float()
        for label in (0, 1)
    )
    assert ones[:, 0, 3:5, 3:5].mean() > zeros[:, 0, 3:5, 3:5].mean() + 50


@pytest.mark.parametrize("stop", [(1, 8), (2, 3)], ids=["after an epoch", "within an epoch"])
def test_an_interrupted_run_resumes_bit_for_bit(
    tmp_path: Path, images: np.ndarray, validation: np.ndarray, stop: tuple[int, int]
) -> None:
    whole, broken, resumed = (ConditionalGlow(SHAPE, CODE, seed) for seed in (1, 1, 99))
    expected = fit(whole, images, validation, tmp_path / "whole", noisy(images))

    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.batch) == stop and (progress.validation_bits is not None or stop[0] == 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(broken, images, validation, tmp_path / "broken", noisy(images), on_progress=interrupt)
    result = fit(resumed, images, validation, tmp_path / "broken", noisy(images), resume=True)
    assert same_weights(resumed, whole)
    assert replace(result, seconds=0) == replace(expected, seconds=0)


def test_noise_is_drawn_afresh_on_every_batch(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    for name, seen in (("a", first), ("b", second)):
        fit(ConditionalGlow(SHAPE, CODE), images, validation, tmp_path / name, noisy(images, seen))
    assert len(first) == 2 * len(images) // 32
    assert len({batch.tobytes() for batch in first}) == len(first)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_result_is_the_average_that_was_validated(
    tmp_path: Path, images: np.ndarray, validation: np.ndarray
) -> None:
    flow = ConditionalGlow(SHAPE, CODE)
    result = fit(flow, images, validation, tmp_path, noisy(images))
    bits = flow.bits_per_dimension(validation, Condition.of(codes(validation)))
    assert float(bits.double().mean()) == pytest.approx(result.validation_bits, abs=1e-9)


def test_validation_goes_through_its_rows_in_order(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    """More validation images than one chunk, each under its own condition."""
    many = np.concatenate([images, validation[:50]])
    flow = ConditionalGlow(SHAPE, CODE)
    result = fit(flow, images, many, tmp_path, noisy(images))
    condition = Condition.of(codes(many))
    bits = [
        flow.bits_per_dimension(many[rows], condition[rows], seed=rows.start)
        for rows in (slice(0, 256), slice(256, 306))
    ]
    assert float(torch.cat(bits).double().mean()) == pytest.approx(result.validation_bits, abs=1e-9)


def test_conditions_that_do_not_fit_are_named(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    flow, given = ConditionalGlow(SHAPE, CODE), Condition.of(codes(validation))
    with pytest.raises(ValueError, match="must be given for a ConditionalGlow, got None"):
        train(flow, images, validation, QUICK, tmp_path, conditions=noisy(images))
    with pytest.raises(ValueError, match="must be given for a ConditionalGlow, got None"):
        train(flow, images, validation, QUICK, tmp_path, validation_conditions=given)
    with pytest.raises(ValueError, match="one row an image, 64, got 63"):
        train(flow, images, validation, QUICK, tmp_path, conditions=noisy(images), validation_conditions=given[:63])
    with pytest.raises(ValueError, match="must be for a ConditionalGlow, got a Glow"):
        train(Glow(SHAPE), images, validation, QUICK, tmp_path, conditions=noisy(images))
    with pytest.raises(ValueError, match="one row an image, 32, got 31"):
        fit(flow, images, validation, tmp_path, lambda rows, _: Condition.of(codes(images[rows[1:]])))


def test_a_run_under_other_conditions_is_not_resumed(
    tmp_path: Path, images: np.ndarray, validation: np.ndarray
) -> None:
    fit(ConditionalGlow(SHAPE, CODE), images, validation, tmp_path, noisy(images))
    wider = ConditionalGlow(SHAPE, replace(CODE, maps=3))
    with pytest.raises(ValueError, match="conditions must be as in the checkpoint"):
        fit(wider, images, validation, tmp_path, noisy(images), resume=True)
    with pytest.raises(ValueError, match=r"conditions must be as in the checkpoint, .*, got None"):
        train(Glow(SHAPE), images, validation, QUICK, tmp_path, resume=True)
