"""From code to picture: nearer to the released code, never worse, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.codes import ContentCode, LatentCode
from veilray.flows import Latent
from veilray.methods import DirectionalRelease, load_method
from veilray.methods.directional import KeptCodeMethod
from veilray.methods.rendering import ContentRenderer, LatentRenderer, consistent
from veilray.privacy import SeededEntropy

CONTENTS = ["pixels", "vae", "invariant"]
TinyFit = Callable[..., Path]


def content_code(tiny_fit: TinyFit, content: str) -> ContentCode:
    epochs = {} if content == "pixels" else {"code_epochs": 1}
    method = load_method(tiny_fit("directional", content=content, keep=4, **epochs))
    assert isinstance(method, DirectionalRelease)
    assert isinstance(method.code, ContentCode)
    return method.code


def grey(count: int, seed: int = 0) -> np.ndarray:
    """Pictures far from black and white, so that small corrections are not clipped."""
    return np.random.default_rng(seed).integers(90, 166, (count, 1, 8, 8), dtype=np.uint8)


def distance(pictures: np.ndarray, codes: np.ndarray, code: ContentCode) -> np.ndarray:
    return np.asarray(np.linalg.norm(codes - code.encode(pictures), axis=1))


@pytest.mark.parametrize("content", CONTENTS)
def test_pictures_come_nearer_to_their_codes_and_none_goes_further(tiny_fit: TinyFit, content: str) -> None:
    code = content_code(tiny_fit, content)
    codes = code.reference.sample(64, SeededEntropy(0))
    before = grey(64)
    after = consistent(before, codes, code)
    assert (after.shape, after.dtype) == (before.shape, np.uint8)
    near, far = distance(after, codes, code), distance(before, codes, code)
    assert (near <= far + 1e-9).all()
    assert near.mean() < (0.5 if content == "pixels" else 0.95) * far.mean()


def test_a_linear_code_is_met_but_for_rounding(tiny_fit: TinyFit) -> None:
    code = content_code(tiny_fit, "pixels")
    before = grey(200)
    codes = code.encode(before) + 0.2 * np.random.default_rng(1).normal(size=(200, 4))
    after = consistent(before, codes, code)
    assert 0 < after.min() <= after.max() < 255  # nothing was clipped
    rounding = np.abs(code.basis.numpy()).sum(axis=0) / 2 / 255  # half a grey level in every pixel, at worst
    assert (np.abs(codes - code.encode(after)) < rounding).all()
    assert distance(after, codes, code).mean() < 0.1 * distance(before, codes, code).mean()


@given(st.floats(-1e6, 1e6), st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_codes_out_of_reach_and_flat_pictures_give_pictures(
    directional: DirectionalRelease, far: float, level: int
) -> None:
    assert isinstance(directional.code, ContentCode)
    flat = np.full((2, 1, 8, 8), level, np.uint8)
    codes = np.array([[far, 0, 0, 0], [0.0, 0, 0, far]])
    after = consistent(flat, codes, directional.code)
    assert (after.shape, after.dtype) == (flat.shape, np.uint8)
    assert (distance(after, codes, directional.code) <= distance(flat, codes, directional.code)).all()


def test_each_picture_is_corrected_by_itself(directional: DirectionalRelease) -> None:
    assert isinstance(directional.code, ContentCode)
    codes = directional.prior(6, SeededEntropy(0))
    together = consistent(grey(6), codes, directional.code)
    others = consistent(np.concatenate([grey(3), grey(3, seed=9)]), codes, directional.code)
    assert np.array_equal(together[:3], others[:3])
    assert not np.array_equal(together[3:], others[3:])


def test_a_content_renderer_corrects_what_the_flow_draws(directional: DirectionalRelease) -> None:
    renderer = directional.renderer
    assert isinstance(renderer, ContentRenderer)
    codes = directional.prior(40, SeededEntropy(0))
    sampled = renderer.sampled(codes, 0.5, SeededEntropy(1))
    drawn = renderer(codes, 0.5, SeededEntropy(1))
    assert np.array_equal(drawn, consistent(sampled, codes, renderer.code))
    assert distance(drawn, codes, renderer.code).mean() < distance(sampled, codes, renderer.code).mean()


@pytest.mark.parametrize("code", ["gram", "levels"])
def test_a_latent_renderer_decodes_the_code_in_its_place(tiny_fit: TinyFit, code: str) -> None:
    method = load_method(tiny_fit("directional", code=code, keep=4))
    assert isinstance(method, KeptCodeMethod)
    assert isinstance(method.code, LatentCode)
    renderer = method.renderer
    assert isinstance(renderer, LatentRenderer)
    seen: list[np.ndarray] = []
    real = method.code.flow.decode

    def watched(latent: Latent) -> object:
        seen.append(latent.flat().numpy())
        return real(latent)

    codes = method.prior(5, SeededEntropy(0))
    method.code.flow.decode = watched  # type: ignore[method-assign,assignment]
    try:
        drawn = renderer(codes, 0.5, SeededEntropy(1))
    finally:
        del method.code.flow.decode
    assert (drawn.shape, drawn.dtype) == ((5, 1, 8, 8), np.uint8)
    np.testing.assert_allclose(method.code.read(seen[0].astype(np.float64)), codes, atol=1e-4)


@pytest.mark.parametrize("code", ["content", "gram", "levels"])
def test_equal_noise_gives_equal_pictures_and_other_noise_others(tiny_fit: TinyFit, code: str) -> None:
    options = {"content": "pixels"} if code == "content" else {"code": code}
    method = load_method(tiny_fit("directional", keep=4, **options))
    assert isinstance(method, KeptCodeMethod)
    codes = method.prior(3, SeededEntropy(0))
    first, again, other = (method.renderer(codes, 0.5, SeededEntropy(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
