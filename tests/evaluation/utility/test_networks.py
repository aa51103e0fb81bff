"""The networks: their sizes, and a shift that neither wraps nor invents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from veilray.evaluation.utility.networks import CNN, ResNet, shifted


@pytest.mark.parametrize(("learner", "least", "most"), [(CNN, 50_000, 100_000), (ResNet, 200_000, 300_000)])
def test_networks_are_small(learner: type[CNN | ResNet], least: int, most: int) -> None:
    network = learner()._network((1, 32, 32), 10)
    assert least <= sum(parameter.numel() for parameter in network.parameters()) <= most


@pytest.mark.parametrize("side", [1, 2, 8, 28, 32])
@pytest.mark.parametrize("learner", [CNN, ResNet])
def test_every_weight_gets_a_gradient(learner: type[CNN | ResNet], side: int) -> None:
    network = learner()._network((1, side, side), 3)
    network(torch.randn(4, 1, side, side)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_shift_moves_by_whole_pixels_and_repeats_the_edge() -> None:
    image = torch.arange(25.0).reshape(1, 1, 5, 5).expand(200, 2, 5, 5)
    moved = shifted(image, 2, np.random.default_rng(0))
    padded = np.pad(image[0, 0].numpy(), 2, mode="edge")
    windows = {padded[row : row + 5, column : column + 5].tobytes() for row in range(5) for column in range(5)}
    assert {one.numpy().tobytes() for one in moved[:, 0].contiguous()} == windows
    assert torch.equal(moved[:, 0], moved[:, 1])


def test_a_shift_is_drawn_for_each_image() -> None:
    image = torch.arange(64.0).reshape(1, 1, 8, 8).expand(20, 1, 8, 8)
    moved = shifted(image, 1, np.random.default_rng(0))
    assert len({one.numpy().tobytes() for one in moved.contiguous()}) > 1
