"""What each layer promises beyond the battery."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from veilray.flows.layers import (
    ActNorm,
    AffineCoupling,
    InvertibleConv,
    Squeeze,
    bounded_scale,
    join,
    leave,
)


def test_squeeze_moves_blocks_into_channels() -> None:
    x = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).float()
    y = Squeeze()(x)
    blocks = F.pixel_unshuffle(x, 2).reshape(2, 3, 4, 2, 2).transpose(1, 2).reshape(2, 12, 2, 2)
    assert torch.equal(y, blocks)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_squeeze_refuses_odd_sizes() -> None:
    with pytest.raises(ValueError, match="height and width must be even, got 3 x 4"):
        Squeeze()(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match="channels must be a multiple of 4, got 6"):
        Squeeze().inverse(torch.zeros(1, 6, 2, 2))


def test_actnorm_normalises_its_first_batch_only() -> None:
    norm = ActNorm(3)
    x = 5 + 7 * torch.randn(16, 3, 4, 4)
    norm.initialise(x)
    deviation, mean = torch.std_mean(norm(x), dim=(0, 2, 3), correction=0)
    assert torch.allclose(mean, torch.zeros(3), atol=1e-5)
    assert torch.allclose(deviation, torch.ones(3), atol=1e-4)
    kept = norm.bias.clone()
    norm.initialise(100 * x)
    assert torch.equal(norm.bias, kept)
    assert bool(norm.state_dict()["initialised"])


def test_actnorm_survives_a_constant_channel() -> None:
    norm = ActNorm(1)
    norm.initialise(torch.full((4, 1, 2, 2), 3.0))
    assert torch.equal(norm(torch.full((1, 1, 2, 2), 3.0)), torch.zeros(1, 1, 2, 2))


@given(channels=st.integers(1, 24), seed=st.integers(0, 1000))
def test_new_convolution_is_a_rotation(channels: int, seed: int) -> None:
    conv = InvertibleConv(channels, torch.Generator().manual_seed(seed))
    weight = conv.weight()
    assert torch.allclose(weight @ weight.T, torch.eye(channels, dtype=torch.float64), atol=1e-12)


def test_convolution_stays_well_conditioned_however_far_its_diagonal_is_pushed() -> None:
    conv = InvertibleConv(8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        conv.factors.copy_(torch.diag(torch.linspace(-1e6, 1e6, 8)))
    assert torch.linalg.cond(conv.weight()) <= 7.4  # e**2
    assert conv.log_diagonal().abs().max() <= 1


@given(raw=st.floats(-(2.0**100), 2.0**100, width=32))
def test_scale_is_bounded(raw: float) -> None:
    scale = bounded_scale(torch.tensor(raw))
    assert 0.6 <= scale.double() <= 1.6 + 1e-6


def test_new_coupling_only_scales() -> None:
    coupling = AffineCoupling(4, 8)
    x = torch.randn(2, 4, 3, 3)
    y = coupling(x)
    assert torch.equal(y[:, :2], x[:, :2])
    assert torch.allclose(y[:, 2:] / x[:, 2:], bounded_scale(torch.zeros(())))


def test_coupling_shifts_stay_bounded_far_out_of_the_prior() -> None:
    coupling = AffineCoupling(4, 8, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(coupling.net.last.weight)
    x = torch.randn(2, 4, 3, 3).sign()
    far, farther = coupling.net(1e3 * x[:, :2]), coupling.net(1e9 * x[:, :2])
    assert torch.equal(far, farther)


def test_coupling_needs_two_channels() -> None:
    with pytest.raises(ValueError, match="channels must be 2 or more, got 1"):
        AffineCoupling(1, 8)


def test_split_halves_and_joins() -> None:
    x = torch.randn(2, 6, 2, 2)
    on, out = leave(x)
    assert on.shape == out.shape == (2, 3, 2, 2)
    assert torch.equal(join(on, out), x)
    with pytest.raises(ValueError, match="channels must be even, got 3"):
        leave(on)
