"""What holds for every registered autoencoder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load, save

from veilray.autoencoders import AUTOENCODERS, Autoencoder, default_features, likeness, restore

Images = NDArray[np.uint8]


def test_pictures_are_rebuilt_better_than_by_their_mean(
    fitted: Autoencoder, training: Images, held_out: Images
) -> None:
    mean = np.broadcast_to(training.mean(0).astype(np.uint8), held_out.shape)
    null = likeness(held_out, mean)
    assert fitted.figures["ssim"] > null["ssim"] + 0.1
    assert fitted.figures["psnr"] > null["psnr"] + 4


def test_codes_and_pictures_have_their_shapes(fitted: Autoencoder, held_out: Images) -> None:
    codes = fitted.encode(held_out)
    rebuilt = fitted.decode(codes)
    assert (codes.shape, codes.dtype) == ((70, 8), np.float32)
    assert (rebuilt.shape, rebuilt.dtype) == (held_out.shape, np.uint8)
    assert np.abs(rebuilt.astype(int) - fitted.reconstruct(held_out)).max() <= 1


def test_no_pictures_make_no_codes(fitted: Autoencoder, held_out: Images) -> None:
    assert fitted.encode(held_out[:0]).shape == (0, 8)
    assert fitted.reconstruct(held_out[:0]).shape == (0, 1, 20, 20)
    assert fitted.decode(fitted.encode(held_out[:0])).shape == (0, 1, 20, 20)


def test_no_row_depends_on_another(fitted: Autoencoder, held_out: Images) -> None:
    alone = fitted.encode(held_out[68:69])
    assert np.allclose(alone, fitted.encode(held_out)[68:69], atol=1e-4)


def test_a_generator_makes_draws_about_the_mean(fitted: Autoencoder, held_out: Images) -> None:
    means = fitted.encode(held_out)
    draws = [fitted.encode(held_out, generator=torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert np.array_equal(draws[0], fitted.encode(held_out, generator=torch.Generator().manual_seed(0)))
    assert not np.array_equal(draws[0], draws[1])
    spread = np.std(draws, 0).mean()
    assert abs(np.mean(draws, 0) - means).mean() < 0.3 * spread


def test_codes_are_about_standard_normal(fitted: Autoencoder, training: Images) -> None:
    draws = fitted.encode(training, generator=torch.Generator().manual_seed(0))
    assert abs(draws.mean(0)).max() < 0.5
    assert 0.5 < draws.std(0).mean() < 1.7


def test_bits_are_an_upper_bound_of_a_code_length(fitted: Autoencoder, held_out: Images) -> None:
    # The noise of the blobs is normal with a deviation of 5.1 levels: nobody codes it in fewer bits on average.
    least = np.log2(0.02 * 255 * np.sqrt(2 * np.pi * np.e))
    assert least - 0.05 < fitted.figures["bits_per_dimension"] < least + 1.5
    bits = fitted.bits_per_dimension(held_out)
    assert bits.shape == (70,)
    assert fitted.figures["bits_per_dimension"] == pytest.approx(bits.mean())


def test_strange_pictures_take_more_bits(fitted: Autoencoder, held_out: Images) -> None:
    strange = np.random.default_rng(0).integers(0, 256, held_out.shape, dtype=np.uint8)
    assert fitted.bits_per_dimension(strange).min() > fitted.bits_per_dimension(held_out).max()


def test_a_state_is_json_and_tensors_and_comes_back(fitted: Autoencoder, held_out: Images) -> None:
    description, tensors = fitted.state()
    again = restore(json.loads(json.dumps(description, allow_nan=False)), load(save(tensors)))
    assert type(again) is type(fitted)
    assert again.config == fitted.config
    assert again.figures == fitted.figures
    # Sums of float32 depend on where in memory their rows begin.
    assert np.abs(again.reconstruct(held_out).astype(int) - fitted.reconstruct(held_out)).max() <= 1
    assert np.allclose(again.bits_per_dimension(held_out), fitted.bits_per_dimension(held_out), atol=1e-3)


def test_what_is_loaded_lies_in_memory_as_what_was_fitted(fitted: Autoencoder) -> None:
    """Then both are summed in the same order, on whatever processor. In a file tensors begin anywhere."""
    description, tensors = fitted.state()
    again = restore(description, load(save(tensors)))
    for autoencoder in (fitted, again):
        for name, tensor in autoencoder._tensors().items():
            assert tensor.data_ptr() % 64 == 0, name
    for name, tensor in fitted._tensors().items():
        assert tensor.stride() == again._tensors()[name].stride(), name


def test_altered_states_are_refused(fitted: Autoencoder) -> None:
    description, tensors = fitted.state()
    name = next(iter(tensors))
    with pytest.raises(ValueError, match="missing or foreign"):
        restore(description, {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(ValueError, match="must be"):
        restore(description, tensors | {name: tensors[name][..., :-1]})
    with pytest.raises(ValueError, match="finite"):
        restore(description, tensors | {name: torch.full_like(tensors[name], torch.nan)})
    with pytest.raises(ValueError, match="config must be"):
        restore(description | {"config": {"size": 20}}, tensors)
    with pytest.raises(ValueError, match="must be"):
        restore(description | {"config": description["config"] | {"features": 9}}, tensors)
    with pytest.raises(ValueError, match="encoder must be one of pca, vae"):
        restore(description | {"autoencoder": "other"}, tensors)


def test_other_pictures_and_codes_are_refused(fitted: Autoencoder, held_out: Images) -> None:
    with pytest.raises(ValueError, match=r"images must be \(n, 1, 20, 20\)"):
        fitted.encode(held_out[:, :, 1:])
    with pytest.raises(ValueError, match="images must be uint8"):
        fitted.reconstruct(held_out.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"codes must be \(n, 8\)"):
        fitted.decode(np.zeros((2, 7), np.float32))
    with pytest.raises(ValueError, match="codes must be finite"):
        fitted.decode(np.full((2, 8), np.nan, np.float32))


@settings(max_examples=10)
@given(size=st.integers(-1000, 1000))
def test_any_finite_code_makes_a_picture(fitted: Autoencoder, size: int) -> None:
    assert fitted.decode(np.full((1, 8), size, np.float32)).dtype == np.uint8


@pytest.mark.parametrize("name", list(AUTOENCODERS))
def test_equal_seeds_make_equal_weights_from_a_memory_map(
    name: str, training: Images, held_out: Images, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("map") / "images.npy"
    np.save(path, training[:100])
    states = [
        AUTOENCODERS[name].fit(images, held_out, features=4, epochs=1, seed=5).state()[1]
        for images in (training[:100], np.load(path, mmap_mode="r"))
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", list(AUTOENCODERS))
def test_what_cannot_be_fitted_is_refused(name: str, training: Images, held_out: Images) -> None:
    fit = AUTOENCODERS[name].fit
    with pytest.raises(ValueError, match="images must be"):
        fit(training[:, :, 1:], held_out)
    with pytest.raises(ValueError, match="validation must be"):
        fit(training, held_out[:, :, :10, :10])
    with pytest.raises(ValueError, match="validation must be 1 or more"):
        fit(training, held_out[:0])
    with pytest.raises(ValueError, match="features must be"):
        fit(training, held_out, features=0)
    with pytest.raises(ValueError, match="got colour"):
        fit(training, held_out, colour=True)


@pytest.mark.parametrize("name", list(AUTOENCODERS))
def test_colour_pictures_and_progress(name: str) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (40, 3, 12, 12), dtype=np.uint8)
    told: list[tuple[int, int, str]] = []
    fitted = AUTOENCODERS[name].fit(pictures, pictures[:4], epochs=2, on_progress=lambda *at: told.append(at))
    assert fitted.reconstruct(pictures).shape == pictures.shape
    assert told[-1][0] == told[-1][1]
    assert fitted.config.features <= default_features(12) == 24
