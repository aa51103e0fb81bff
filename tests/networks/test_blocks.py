"""Building blocks: shapes, the published shortcut, seeds that touch nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from veilray.networks.blocks import Residual, convolution, head, seeded


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("stride", "side"), [(1, 7), (2, 4)])
def test_a_convolution_rounds_sides_up(kernel: int, stride: int, side: int) -> None:
    assert nn.Sequential(*convolution(2, 5, stride, kernel))(torch.rand(3, 2, 7, 7)).shape == (3, 5, side, side)


def test_a_head_gives_one_number_a_class() -> None:
    assert nn.Sequential(*head(4, 3))(torch.rand(2, 4, 5, 5)).shape == (2, 3)


@pytest.mark.parametrize("from_active", [False, True])
@pytest.mark.parametrize(("out", "stride"), [(4, 1), (4, 2), (6, 1)])
def test_a_residual_block_is_its_input_and_a_change(out: int, stride: int, from_active: bool) -> None:
    block = Residual(4, out, stride, from_active=from_active).eval()
    x = torch.randn(2, 4, 6, 6)
    seen = block.changed[:2](x) if from_active and (out, stride) != (4, 1) else x
    assert torch.allclose(block(x), block.kept(seen) + block.changed(x))


def test_equal_seeds_make_equal_networks_and_leave_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first, second, third = (seeded(lambda: nn.Linear(3, 3), seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)
