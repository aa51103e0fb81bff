"""Glow as an encoder of integer images: exact on integers, finite on every draw, clear about mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.flows import Encoder, Glow, GlowConfig, Latent

from .conftest import toy_images


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 28, "levels": 3}, r"size must be divisible by 2\*\*levels = 8, got 28: use --levels 2"),
        ({"size": 27, "levels": 1}, "got 27: use --size with an even number"),
        ({"size": 8, "bits": 17}, "bits must be a whole number from 1 to 16, got 17"),
        ({"size": 8, "channels": 0}, "channels must be a whole number from 1 to .*, got 0"),
        ({"size": 8, "steps": 1.5}, "steps must be a whole number from 1 to .*, got 1.5"),
        ({"size": 8, "width": True}, "width must be a whole number from 1 to .*, got True"),
        ({"size": 8, "coupling": "nice"}, "coupling must be affine or gin, got 'nice'"),
        ({"size": 8, "coupling": ["gin"]}, r"coupling must be affine or gin, got \['gin'\]"),
        ({"size": 8, "downsampling": "haar"}, "downsampling must be checkerboard or reshape, got 'haar'"),
        ({"size": 8, "downsampling": None}, "downsampling must be checkerboard or reshape, got None"),
    ],
)
def test_config_errors_name_value_and_cure(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GlowConfig(**values)


@settings(max_examples=25, deadline=None)
@given(
    half=st.integers(1, 4),
    levels=st.integers(1, 3),
    channels=st.integers(1, 4),
    bits=st.sampled_from([1, 5, 8, 12, 16]),
    options=st.fixed_dictionaries(
        {}, optional={"coupling": st.just("gin"), "downsampling": st.sampled_from(["checkerboard", "reshape"])}
    ),
    n=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_integers_survive_encode_and_decode(
    half: int, levels: int, channels: int, bits: int, options: dict[str, Any], n: int, seed: int
) -> None:
    config = GlowConfig(half * 2**levels, channels, bits, levels, steps=2, width=8, **options)
    flow = Glow(config, seed=seed)
    dtype = np.uint8 if bits <= 8 else np.uint16
    images = np.random.default_rng(seed).integers(0, 2**bits, (n, *config.shape), dtype=dtype)
    latent = flow.encode(images)
    assert latent.shapes == config.latent_shapes
    assert latent.dimension == config.dimension
    back = flow.decode(latent)
    assert back.numpy().dtype == dtype
    assert np.array_equal(back.numpy(), images)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_of_grey_survives_a_trained_flow(bits: int, channels: int) -> None:
    config = GlowConfig(16, channels, bits, levels=2, steps=3, width=16)
    flow = Glow(config)
    train_images = toy_images(64, 0, 16, channels, bits)
    optimiser = torch.optim.Adam(flow.parameters(), lr=2e-3)
    x = torch.as_tensor(train_images.astype(np.float32)) / 2**bits - 0.5 + torch.rand(64, 1, 1, 1) / 2**bits
    flow.initialise(x)
    for _ in range(20):
        optimiser.zero_grad()
        flow.loss(x).mean().backward()
        optimiser.step()
    levels = np.linspace(0, 2**bits - 1, 16 * 16 * channels).astype(train_images.dtype)
    images = np.stack([levels.reshape(channels, 16, 16), train_images[0]])
    assert np.array_equal(flow.decode(flow.encode(images)).numpy(), images)


def test_couplings_of_gin_leave_the_volume_to_actnorms_and_convolutions() -> None:
    """Then log |det| is one number for all images; with affine couplings it differs from image to image."""
    for coupling, constant in (("gin", True), ("affine", False)):
        flow = Glow(GlowConfig(8, 1, 8, 2, 2, 8, coupling=coupling)).double()  # type: ignore[arg-type]
        x = torch.rand(5, 1, 8, 8, dtype=torch.float64) - 0.5
        flow.initialise(x)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.1)
            ladj = flow.call_and_ladj(x)[1]
            volume = sum(
                (step.actnorm.log_scale.sum() + step.mix.log_diagonal().sum()) * side**2
                for side, level in zip((4, 2), flow._steps(), strict=True)
                for step in level
            )
        assert torch.allclose(ladj, torch.as_tensor(volume), rtol=1e-12) == constant


def test_the_downsampling_changes_the_latent_of_more_than_one_channel() -> None:
    images = toy_images(4, 0, channels=3)
    one, other = (
        Glow(GlowConfig(8, 3, 8, 1, 2, 8, downsampling=name)).encode(images).flat()  # type: ignore[arg-type]
        for name in ("checkerboard", "reshape")
    )
    assert not torch.allclose(one, other, atol=1e-3)


def test_a_default_flow_is_described_as_before_there_were_options() -> None:
    numbers = {"size": 8, "channels": 1, "bits": 8, "levels": 3, "steps": 8, "width": 128}
    assert GlowConfig(8).to_dict() == numbers
    assert GlowConfig(8, coupling="affine", downsampling="checkerboard").to_dict() == numbers
    told = GlowConfig(8, coupling="gin", downsampling="reshape").to_dict()
    assert told == {**numbers, "coupling": "gin", "downsampling": "reshape"}
    assert GlowConfig(**told) == GlowConfig(8, coupling="gin", downsampling="reshape")  # type: ignore[arg-type]


def test_is_an_encoder(trained: tuple[Glow, Path]) -> None:
    assert isinstance(trained[0], Encoder)


def test_encode_takes_arrays_tensors_and_read_only_maps(
    trained: tuple[Glow, Path], images: np.ndarray, tmp_path: Path
) -> None:
    flow, _ = trained
    np.save(tmp_path / "images.npy", images[:4])
    expected = flow.encode(images[:4]).flat()
    assert torch.equal(flow.encode(torch.as_tensor(images[:4])).flat(), expected)
    assert torch.equal(flow.encode(np.load(tmp_path / "images.npy", mmap_mode="r")).flat(), expected)


def test_a_row_does_not_depend_on_its_neighbours(trained: tuple[Glow, Path], images: np.ndarray) -> None:
    flow, _ = trained
    changed = images[:8].copy()
    changed[[0, 1, 2, 4, 5, 6, 7]] = 255 - changed[[0, 1, 2, 4, 5, 6, 7]]
    assert torch.equal(flow.encode(images[:8]).flat()[3], flow.encode(changed).flat()[3])


def test_trained_latents_are_near_the_prior(trained: tuple[Glow, Path], validation: np.ndarray) -> None:
    flat = trained[0].encode(validation).flat()
    assert abs(flat.mean()) < 0.2
    assert 0.5 < flat.std() < 1.5


@pytest.mark.parametrize("scale", [0.6, 2.0, 6.0, 3072.0])
def test_noise_leaves_the_trained_inverse_accurate(
    trained: tuple[Glow, Path], images: np.ndarray, scale: float
) -> None:
    flow, _ = trained
    torch.manual_seed(0)
    y = flow.encode(images).flat()
    y = y + torch.distributions.Laplace(0.0, scale).sample(y.shape)
    if scale > 100:  # noise of a whole-image epsilon is decoded through Phi^-1(F(y)), clamped to +-8
        y = y.sign() * torch.erfinv(1 - torch.exp(-y.abs() / scale).clamp_min(1e-7)) * 2**0.5
        y = y.clamp(-8, 8)
    with torch.no_grad():
        x = flow.inverse(y)
        assert bool(torch.isfinite(x).all())
        assert ((flow(x) - y).norm(dim=1) / y.norm(dim=1)).max() <= 1e-4


@pytest.mark.parametrize("value", [3072.0, 1e30, float("inf"), float("nan")])
def test_decode_returns_grey_levels_for_every_latent(trained: tuple[Glow, Path], value: float) -> None:
    flow, _ = trained
    flat = torch.full((2, flow.config.dimension), value)
    flat[1] *= -1
    decoded = flow.decode(Latent.from_flat(flat, flow.config.latent_shapes))
    assert decoded.dtype == torch.uint8
    assert decoded.shape == (2, 1, 8, 8)


def test_sample_follows_generator_and_temperature(trained: tuple[Glow, Path]) -> None:
    flow, _ = trained
    draws = [flow.sample(4, torch.Generator().manual_seed(s), t) for s, t in ((1, 1.0), (1, 1.0), (2, 1.0))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    cold = flow.sample(2, torch.Generator().manual_seed(1), temperature=0.0)
    assert torch.equal(cold[0], cold[1])
    with pytest.raises(ValueError, match="temperature must be 0 or more, got -1"):
        flow.sample(1, temperature=-1)


def test_bits_per_dimension_is_the_density_of_the_prior_for_an_identity() -> None:
    """With zeroed steps the flow is a scaled rotation, so the density is known in closed form."""
    flow = Glow(GlowConfig(4, 1, 8, 1, 1, 4)).double()
    images = np.full((1, 1, 4, 4), 128, dtype=np.uint8)
    ladj = 8 * np.log(1 / (1 + np.exp(0.1)) + 0.6)
    norm = flow.log_prob(torch.zeros(1, 1, 4, 4, dtype=torch.float64)).item()
    assert norm == pytest.approx(ladj - 8 * np.log(2 * np.pi), abs=1e-9)
    bits = flow.bits_per_dimension(images).item()
    assert bits == pytest.approx(8 - norm / (16 * np.log(2)), abs=1e-3)


@pytest.mark.parametrize(
    ("given_images", "message"),
    [
        (np.zeros((1, 8, 8), np.uint8), r"images must be \(n, 1, 8, 8\), got \(1, 8, 8\)"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"images must be \(n, 1, 8, 8\)"),
        (np.zeros((1, 1, 8, 8), np.float32), "images of 8 bits must be torch.uint8, got torch.float32"),
        (np.zeros((1, 1, 8, 8), np.uint16), "images of 8 bits must be torch.uint8, got torch.uint16"),
    ],
)
def test_images_of_another_kind_are_refused(trained: tuple[Glow, Path], given_images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained[0].encode(given_images)


def test_pixels_above_the_bits_are_refused() -> None:
    flow = Glow(GlowConfig(4, 1, 12, 1, 1, 4))
    with pytest.raises(ValueError, match="pixels of 12 bits must be below 4096, got 4096"):
        flow.encode(np.full((1, 1, 4, 4), 4096, np.uint16))


def test_a_latent_of_another_model_is_refused(trained: tuple[Glow, Path]) -> None:
    with pytest.raises(ValueError, match="latent shapes must be"):
        trained[0].decode(Latent((torch.zeros(1, 4, 4, 4),)))


@pytest.mark.parametrize("options", [{}, {"coupling": "gin", "downsampling": "reshape"}], ids=["default", "options"])
def test_per_example_gradients_by_vmap_equal_those_one_by_one(options: dict[str, Any]) -> None:
    """DP-SGD needs the gradient of each image; `vmap(grad)` refuses in-place writes and `.item()`."""
    flow = Glow(GlowConfig(8, 1, 8, 2, 2, 4, **options)).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64) - 0.5
    flow.initialise(x)
    parameters = {name: value.detach() for name, value in flow.named_parameters()}

    def loss(values: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(_Loss(flow), {f"flow.{k}": v for k, v in values.items()}, row[None])

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for row in range(3):
        alone = torch.autograd.grad(flow.loss(x[row : row + 1]).sum(), list(flow.parameters()))
        for name, gradient in zip(parameters, alone, strict=True):
            assert torch.allclose(together[name][row], gradient, rtol=1e-8, atol=1e-10), name


class _Loss(torch.nn.Module):
    def __init__(self, flow: Glow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.flow.loss(x).sum()
