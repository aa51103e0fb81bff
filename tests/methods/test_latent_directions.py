"""Directions of a latent: found by what they do to a task, read and placed exactly, kept in a file that is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from veilray.codes.gram import decoder_gram
from veilray.flows import Condition, ConditionalGlow, ConditionConfig, Glow, GlowConfig
from veilray.methods.latent_directions import LatentDirections, task_reader


@pytest.fixture(scope="module")
def flow() -> ConditionalGlow:
    made = ConditionalGlow(GlowConfig(size=8, levels=2, steps=2, width=8), ConditionConfig(categorical=(2,)), seed=3)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return (load_digits().data[:200].reshape(-1, 1, 8, 8) * 15).astype(np.uint8)


@pytest.fixture(scope="module")
def condition() -> Condition:
    return Condition.of(categorical=np.arange(200) % 2)


@pytest.fixture(scope="module")
def directions(flow: ConditionalGlow, images: np.ndarray, condition: Condition) -> LatentDirections:
    return LatentDirections.fit(flow, images, condition, 6, lambda pictures: pictures[:, :, :2].flatten(1))


@given(st.integers(0, 2**32 - 1))
def test_what_is_placed_is_read(directions: LatentDirections, seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers, rest = rng.standard_normal((3, 6)), rng.standard_normal((3, 64))
    placed = directions.place(numbers, rest)
    assert np.allclose(directions.read(placed), numbers)
    basis = directions.directions.numpy()
    assert np.allclose(placed - placed @ basis @ basis.T, rest - rest @ basis @ basis.T)  # the rest is the prior's


def test_the_first_directions_move_the_answers_most(
    flow: ConditionalGlow, images: np.ndarray, condition: Condition, directions: LatentDirections
) -> None:
    latents = flow.encode(images[:40], condition[:40]).flat()

    def moved(direction: torch.Tensor) -> float:
        step = 0.5 * direction.float() / direction.norm()
        shown = [flow.inverse(latents + sign * step, condition[:40])[:, :, :2] for sign in (-1, 1)]
        return float((shown[1] - shown[0]).square().sum(dim=(1, 2, 3)).mean())

    generator = torch.Generator().manual_seed(0)
    others = [moved(torch.randn(64, generator=generator)) for _ in range(5)]
    assert moved(directions.directions[:, 0]) > 1.5 * max(others)
    assert (directions.importance.diff() <= 0).all()


def test_importance_is_shared_out_over_the_levels(directions: LatentDirections) -> None:
    shares = directions.share_of_levels([(2, 4, 4), (8, 2, 2)])
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1)


def test_public_images_are_standardised(
    flow: ConditionalGlow, images: np.ndarray, condition: Condition, directions: LatentDirections
) -> None:
    rows = directions.read(flow.encode(images, condition).flat().double().numpy())
    assert np.allclose(rows.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(rows.std(axis=0, ddof=1), 1, atol=1e-6)


def test_a_file_gives_the_same_directions(tmp_path: Path, directions: LatentDirections) -> None:
    digest = directions.save(tmp_path)
    found, told = LatentDirections.load(tmp_path)
    assert told == digest
    assert torch.equal(found.directions, directions.directions)


@pytest.mark.parametrize("cut", [8, 400])
def test_a_truncated_file_is_refused(tmp_path: Path, directions: LatentDirections, cut: int) -> None:
    directions.save(tmp_path)
    path = next(tmp_path.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match="truncated or altered"):
        LatentDirections.load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path, directions: LatentDirections) -> None:
    with pytest.raises(ValueError, match="the directions of the latent must be in"):
        LatentDirections.load(tmp_path)
    directions.save(tmp_path)
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(ValueError, match="got no such file"):
        LatentDirections.load(tmp_path)


def test_a_reader_tells_its_task() -> None:
    values, digits = load_digits(return_X_y=True)
    images = (values.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
    parity = (digits % 2).astype(np.int64)
    reader = task_reader(images[:800], parity[:800], 8, steps=150)
    answers = reader(torch.from_numpy(images[800:1200] / 255.0).float()).argmax(dim=1).numpy()
    assert (answers == parity[800:1200]).mean() > 0.8
    number = task_reader(images[:800], digits[:800] / 4.5 - 1, 8, steps=150)
    told = number(torch.from_numpy(images[800:1200] / 255.0).float())[:, 0].numpy()
    assert np.corrcoef(told, digits[800:1200])[0, 1] > 0.6


def test_a_task_of_one_level_is_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="task must be told by two images or more of two levels or more"):
        task_reader(images, np.zeros(200, np.int64), 8)


def test_conditions_go_with_conditional_flows_alone(flow: ConditionalGlow, condition: Condition) -> None:
    latents = torch.zeros(200, 64)
    with pytest.raises(ValueError, match="condition must be given for a conditional flow, got none"):
        decoder_gram(flow, latents, 2)
    with pytest.raises(ValueError, match="condition must be none for a flow without conditions"):
        decoder_gram(Glow(flow.config), latents, 2, condition=condition)
    with pytest.raises(ValueError, match="condition must be one row a latent, 3, got 200"):
        decoder_gram(flow, latents[:3], 2, condition=condition)


@pytest.mark.parametrize("importance", [torch.tensor(1.0), torch.ones(0), torch.full((2,), 1e308, dtype=torch.float64)])
def test_foreign_directions_are_refused(importance: torch.Tensor) -> None:
    keep = importance.numel()
    with pytest.raises(ValueError, match="must be"):
        LatentDirections(torch.eye(4)[:, :keep], importance, torch.zeros(keep), torch.ones(keep))
