"""The variational autoencoder: sizes, likelihood, and what its options do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from veilray.autoencoders import VaeConfig, VariationalAutoencoder
from veilray.autoencoders.network import VaeNetwork

Images = NDArray[np.uint8]


@pytest.mark.parametrize("size", [8, 28, 30, 36, 64, 100, 132, 256])
def test_pictures_of_any_size_go_through(size: int) -> None:
    network = VaeNetwork(size, 1, 4, 4)
    mean, log_variance = network.law(torch.zeros(1, 1, size, size))
    assert mean.shape == log_variance.shape == (1, 4)
    assert network.decode(mean).shape == (1, 1, size, size)


def test_a_heavier_divergence_makes_poorer_codes(training: Images, held_out: Images) -> None:
    light, heavy = (
        VariationalAutoencoder.fit(training, held_out, features=8, width=16, epochs=4, kl_weight=weight).figures
        for weight in (0.2, 50.0)
    )
    assert heavy["kl_bits"] < 0.7 * light["kl_bits"]
    assert heavy["psnr"] < light["psnr"]


def test_fitted_noise_is_the_error_of_the_training_images(training: Images, held_out: Images) -> None:
    fitted = VariationalAutoencoder.fit(training, held_out, features=8, width=16, epochs=2)
    rebuilt = fitted.reconstruct(training, generator=torch.Generator().manual_seed(0))
    error = (rebuilt.astype(float) - training).std()
    assert float(fitted.variance) ** 0.5 == pytest.approx(error, rel=0.05)


def test_fixed_noise_is_kept(training: Images, held_out: Images) -> None:
    fitted = VariationalAutoencoder.fit(training, held_out, features=4, epochs=1, noise=20.0)
    assert float(fitted.variance) == 400
    assert fitted.config.noise == 20


def test_pictures_through_random_maps_cost_no_more_than_noise(training: Images, held_out: Images) -> None:
    maps = np.random.default_rng(0).integers(0, 256, (550, 256), dtype=np.uint8)
    mapped = np.stack([table[picture] for table, picture in zip(maps, [*training, *held_out], strict=True)])
    fitted = VariationalAutoencoder.fit(mapped[:480], mapped[480:], features=16, width=32, epochs=6)
    one_normal_law = np.log2(mapped.std() * np.sqrt(2 * np.pi * np.e))
    assert fitted.figures["bits_per_dimension"] < one_normal_law + 0.05
    assert fitted.reconstruct(mapped[480:]).shape == held_out.shape


def test_constant_pictures_are_rebuilt() -> None:
    grey = np.full((64, 1, 12, 12), 77, np.uint8)
    fitted = VariationalAutoencoder.fit(grey, grey[:4], features=2, width=16, epochs=10)
    assert np.abs(fitted.reconstruct(grey).astype(int) - 77).max() <= 1


def test_time_ends_a_fit(training: Images, held_out: Images) -> None:
    steps: list[int] = []
    VariationalAutoencoder.fit(
        training, held_out, epochs=100_000, max_minutes=0.01, on_progress=lambda done, *_: steps.append(done)
    )
    assert 0 < len(steps) < 1000


def test_the_global_generator_is_left_alone(training: Images, held_out: Images) -> None:
    before = torch.get_rng_state()
    VariationalAutoencoder.fit(training[:32], held_out, features=2, epochs=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"kl_weight": -1.0}, "kl_weight must be 0 or more, got -1"),
        ({"noise": 0.0}, r"noise must be in \(0, 255\] grey levels, got 0"),
        ({"width": 0}, "width must be a whole number"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"learning_rate": 2.0}, "learning_rate must be at most 1"),
        ({"seed": -1}, "seed must be 0 to"),
    ],
)
def test_options_outside_their_range_are_refused(
    option: dict[str, float], message: str, training: Images, held_out: Images
) -> None:
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder.fit(training, held_out, **option)  # type: ignore[arg-type]


def test_a_strangers_config_is_refused_before_anything_is_built() -> None:
    empty = VariationalAutoencoder(VaeConfig(8, 1, 2, 2), torch.zeros(1, 8, 8), torch.tensor(1.0))
    empty.figures = {}
    description, tensors = empty.state()
    huge = description | {"config": description["config"] | {"features": 10**9, "width": 4096}}
    with pytest.raises(ValueError, match="must be"):
        VariationalAutoencoder.from_state(huge, tensors)
