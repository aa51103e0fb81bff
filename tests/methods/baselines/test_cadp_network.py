"""The published network: invertible, its determinant right, and what its two readings mean."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.methods.baselines import AS_CONFIGURED, AS_RUN, CADPConfig, CADPNetwork

Shape = tuple[int, int, int]
LEVELS = 3
READINGS = pytest.mark.parametrize("reading", [AS_CONFIGURED, AS_RUN], ids=["as configured", "as run"])


def network(reading: CADPConfig, shape: Shape = (1, 4, 8), seed: int = 0) -> CADPNetwork:
    """A tiny network in float64, away from the identity that it starts at."""
    made = CADPNetwork(shape, LEVELS, replace(reading, depths=(2, 1), channels=(5, 4), flat_width=6), seed).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return made.eval()


def images(shape: Shape, rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(rows, *shape, generator=generator, dtype=torch.float64), torch.arange(rows) % LEVELS


@given(
    shape=st.sampled_from([(1, 4, 4), (1, 8, 4), (3, 4, 4)]),
    coupling=st.sampled_from(["gin", "glow"]),
    mixing=st.sampled_from(["rotation", "permutation"]),
    seed=st.integers(0, 9),
)
@settings(max_examples=12)
def test_every_kind_of_network_undoes_itself(
    shape: Shape, coupling: Literal["gin", "glow"], mixing: Literal["rotation", "permutation"], seed: int
) -> None:
    made = network(replace(AS_RUN, coupling=coupling, mixing=mixing), shape, seed)
    x, labels = images(shape)
    z, _ = made.call_and_ladj(x, labels)
    assert z.shape == (len(x), math.prod(shape))
    assert (made.inverse(z, labels) - x).abs().max() < 1e-10
    assert not torch.allclose(z.sort().values, x.flatten(1).sort().values, atol=1e-2)


@READINGS
def test_log_determinant_is_that_of_the_jacobian(reading: CADPConfig) -> None:
    made = network(reading)
    x, labels = images(made.shape, 2)
    for row in range(2):
        told = labels[row : row + 1]
        jacobian = torch.autograd.functional.jacobian(lambda v, t=told: made.call_and_ladj(v[None], t)[0][0], x[row])
        expected = torch.linalg.slogdet(jacobian.reshape(made.dimension, -1)).logabsdet
        assert float(made.call_and_ladj(x[row : row + 1], told)[1].detach()) == pytest.approx(
            float(expected), abs=1e-10
        )


def test_gin_keeps_volume_and_glow_does_not() -> None:
    for reading, keeps in ((AS_CONFIGURED, True), (AS_RUN, False)):
        made = network(reading)
        assert bool((made.call_and_ladj(*images(made.shape))[1].abs().max() < 1e-12) == keeps)


@READINGS
def test_the_label_reaches_every_sub_network(reading: CADPConfig) -> None:
    made = network(reading)
    made.call_and_ladj(*images(made.shape, 60))[0].square().sum().backward()
    for name, weight in made.named_parameters():
        if name.endswith(".0.weight"):
            assert weight.grad is not None
            of_label = weight.grad[:, -LEVELS:]
            assert bool((of_label.flatten(2) if of_label.ndim == 4 else of_label[..., None]).abs().sum((0, 2)).all())


def test_an_untrained_network_only_moves_pixels() -> None:
    made = CADPNetwork((1, 8, 8), LEVELS, AS_RUN)
    x = torch.rand(3, 1, 8, 8)
    z, ladj = made.call_and_ladj(x, torch.zeros(3, dtype=torch.int64))
    assert torch.equal(z.sort().values, x.flatten(1).sort().values)
    assert torch.equal(ladj, torch.zeros(3))


def test_log_scales_stay_within_the_clamp() -> None:
    made = network(AS_RUN)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(1e3)
    _, ladj = made.call_and_ladj(*images(made.shape))
    couplings = sum(made.config.depths) + made.config.flat_depth
    assert 0 < float(ladj.detach().abs().max()) <= couplings * made.config.clamp * made.dimension


def test_the_seed_decides_weights_and_mixing_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, same, other = (CADPNetwork((1, 4, 4), LEVELS, AS_CONFIGURED, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["stages.0.0.mixing.matrix"], other["stages.0.0.mixing.matrix"])


def test_the_flattened_couplings_hold_most_of_the_weights() -> None:
    small, large = (CADPNetwork((1, size, size), 2, replace(AS_RUN, flat_width=size**2 // 2)) for size in (8, 32))
    flat = [sum(weight.numel() for weight in made.flat.parameters()) for made in (small, large)]
    assert flat[1] / flat[0] > 200  # 16 times the pixels, 256 times the weights
    assert large.size - flat[1] == small.size - flat[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coupling": "additive"}, "coupling must be one of gin, glow, got 'additive'"),
        ({"mixing": "none"}, "mixing must be one of rotation, permutation"),
        ({"depths": (4,)}, r"channels must be one number for each of the depths \(4,\)"),
        ({"channels": (0, 1)}, "depths and channels must be 1 or more"),
        ({"clamp": 0.0}, "clamp must be above 0, got 0.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"image_noise": -0.1}, "image_noise and flat_depth must be 0 or more"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(AS_CONFIGURED, **wrong)  # type: ignore[arg-type]


def test_wrong_shapes_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        CADPNetwork((1, 6, 8), LEVELS)
    with pytest.raises(ValueError, match="levels must be 1 or more"):
        CADPNetwork((1, 4, 4), 0)
    made = network(AS_RUN)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got 0 to 3"):
        made.call_and_ladj(images(made.shape)[0], torch.tensor(np.arange(4)))
