"""What each layer promises beyond the battery."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from veilray.flows.layers import (
    DOWNSAMPLINGS,
    ActNorm,
    AffineCoupling,
    GinCoupling,
    InvertibleConv,
    ReshapingSqueeze,
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


def test_squeeze_lays_the_four_sub_images_one_after_the_other() -> None:
    x = torch.randn(2, 3, 4, 6)
    sub_images = [x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    assert torch.equal(Squeeze()(x), torch.cat(sub_images, dim=1))


def test_reshaping_squeeze_keeps_the_four_pixels_of_a_channel_together() -> None:
    x = torch.randn(2, 3, 4, 6)
    y = ReshapingSqueeze()(x)
    assert torch.equal(y, F.pixel_unshuffle(x, 2))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ReshapingSqueeze()(x[:, :1]), Squeeze()(x[:, :1]))


@given(
    name=st.sampled_from(list(DOWNSAMPLINGS)),
    n=st.integers(0, 3),
    channels=st.integers(1, 5),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
)
def test_every_squeeze_is_an_exact_permutation(name: str, n: int, channels: int, height: int, width: int) -> None:
    squeeze = DOWNSAMPLINGS[name]()
    x = torch.arange(n * channels * 4 * height * width).reshape(n, channels, 2 * height, 2 * width)
    y = squeeze(x)
    assert y.shape == (n, 4 * channels, height, width)
    assert torch.equal(y.flatten().sort().values, x.flatten())
    assert torch.equal(squeeze.inverse(y), x)


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


def _drastic_gin(channels: int, seed: int, size: float) -> GinCoupling:
    coupling = GinCoupling(channels, 8, torch.Generator().manual_seed(seed)).double()
    torch.nn.init.normal_(coupling.net.last.weight, std=size, generator=torch.Generator().manual_seed(seed))
    return coupling


@given(channels=st.integers(2, 9), seed=st.integers(0, 1000), size=st.sampled_from([0.0, 0.1, 10.0, 1e4]))
def test_gin_scales_multiply_to_one_at_each_position_and_stay_bounded(channels: int, seed: int, size: float) -> None:
    raw = size * torch.randn(2, channels, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scale = GinCoupling(2 * channels, 1).scale(raw)
    assert torch.allclose(scale.prod(dim=1), torch.ones(2, 3, 3, dtype=torch.float64), rtol=1e-12)
    assert 3 / 8 < scale.min() <= scale.max() < 8 / 3


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_gin_keeps_volume_exactly(channels: int) -> None:
    coupling = _drastic_gin(channels, seed=3, size=1.0)
    x = torch.randn(3, channels, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, ladj = coupling.call_and_ladj(x)
    assert torch.equal(ladj, torch.zeros(3, dtype=torch.float64))
    assert torch.equal(coupling.log_abs_det_jacobian(x, y), ladj)
    for row in x:
        jacobian = torch.autograd.functional.jacobian(lambda v: coupling(v[None]).flatten(), row)
        assert torch.linalg.slogdet(jacobian.reshape(4 * channels, -1)).logabsdet.abs() < 1e-12


def test_gin_scales_differ_between_channels_and_positions() -> None:
    coupling = _drastic_gin(6, seed=0, size=1.0)
    x = torch.randn(1, 6, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scale = coupling.scale(coupling.net(x[:, :3]).chunk(2, dim=1)[1])
    assert scale.std(dim=1).min() > 0.01
    assert scale.std(dim=(2, 3)).min() > 0.01


def test_new_gin_coupling_is_the_identity() -> None:
    x = torch.randn(2, 5, 3, 3)
    assert torch.allclose(GinCoupling(5, 8)(x), x, rtol=1e-6)


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
