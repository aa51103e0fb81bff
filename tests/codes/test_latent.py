"""Codes in the latent of a flow: what is placed is read again, and what they keep shows most."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from veilray.codes import GramCode, KeptCode, LatentCode, LevelsCode
from veilray.flows import Glow, Latent

from .conftest import KEEP, pictures

Rows = NDArray[np.float64]
KINDS = ["levels", "gram"]


@pytest.fixture(params=KINDS)
def latent_code(request: pytest.FixtureRequest, fitted: dict[str, KeptCode]) -> LatentCode:
    code = fitted[request.param]
    assert isinstance(code, LatentCode)
    return code


def latent_rows(low: int = 1) -> st.SearchStrategy[tuple[Rows, Rows]]:
    values = st.floats(-30, 30)
    return st.integers(low, 4).flatmap(
        lambda n: st.tuples(
            arrays(np.float64, (n, KEEP), elements=values), arrays(np.float64, (n, 64), elements=values)
        )
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(drawn=latent_rows(low=0))
def test_what_is_placed_is_read(fitted: dict[str, KeptCode], kind: str, drawn: tuple[Rows, Rows]) -> None:
    code, (codes, rest) = fitted[kind], drawn
    assert isinstance(code, LatentCode)
    before = rest.copy()
    latents = code.place(codes, rest)
    assert latents.shape == rest.shape
    assert np.allclose(code.read(latents), codes, rtol=0, atol=1e-9)
    assert np.array_equal(rest, before), "rest is the caller's"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(drawn=latent_rows())
def test_all_else_comes_from_the_rest(fitted: dict[str, KeptCode], kind: str, drawn: tuple[Rows, Rows]) -> None:
    code, (codes, rest) = fitted[kind], drawn
    assert isinstance(code, LatentCode)
    assert np.allclose(code.place(code.read(rest), rest), rest, rtol=0, atol=1e-9)
    other = code.place(np.zeros_like(codes), rest)
    assert np.allclose(code.place(codes, other), code.place(codes, rest), rtol=0, atol=1e-9)
    assert np.linalg.matrix_rank(np.atleast_2d(code.place(codes, rest) - rest), tol=1e-6) <= KEEP


def test_a_picture_of_a_code_has_that_code(latent_code: LatentCode, others: NDArray[np.uint8]) -> None:
    """Through decoding to grey levels and encoding again, up to their rounding and clamping."""
    rest = np.random.default_rng(0).standard_normal((len(others), 64))
    codes = latent_code.encode(others)
    latents = Latent.from_flat(latent_code.place(codes, rest), latent_code.flow.config.latent_shapes)
    again = latent_code.encode(latent_code.flow.decode(latents).numpy())
    assert np.corrcoef(again.ravel(), codes.ravel())[0, 1] > 0.95


def test_encode_reads_the_latent(latent_code: LatentCode, others: NDArray[np.uint8]) -> None:
    assert np.array_equal(latent_code.encode(others), latent_code.read(latent_code.flow.encode(others).numpy()))


def test_rows_of_another_shape_are_refused(latent_code: LatentCode) -> None:
    with pytest.raises(ValueError, match=r"codes must be \(2, 4\), got \(2, 3\)"):
        latent_code.place(np.zeros((2, 3)), np.zeros((2, 64)))
    with pytest.raises(ValueError, match=r"rest must be \(2, 64\), got \(3, 64\)"):
        latent_code.place(np.zeros((2, 4)), np.zeros((3, 64)))
    with pytest.raises(ValueError, match=r"latents must be \(2, 64\), got \(2, 4\)"):
        latent_code.read(np.zeros((2, 4)))


def test_eigenvalues_fall(latent_code: LatentCode) -> None:
    values = latent_code.eigenvalues
    assert values.shape == (KEEP,)
    assert bool((values.diff() <= 0).all()) and float(values[-1]) > 0


def test_what_is_kept_shows_more_than_what_is_not(latent_code: LatentCode) -> None:
    rng = np.random.default_rng(1)
    base = rng.standard_normal((200, 64))

    def change(step: Rows) -> float:
        step = 0.01 * step / np.linalg.norm(step, axis=1, keepdims=True)
        shown = [latent_code.flow.inverse(torch.from_numpy(rows).float()) for rows in (base, base + step)]
        return float((shown[1] - shown[0]).square().sum(dim=(1, 2, 3)).mean())

    with torch.no_grad():
        codes = latent_code.read(base)
        kept = latent_code.place(codes + rng.standard_normal(codes.shape), base) - base
        assert change(kept) > 2 * change(rng.standard_normal(base.shape))


@pytest.mark.parametrize("keep", [5, 40])
def test_levels_come_from_the_coarsest_first(flow: Glow, public: NDArray[np.uint8], keep: int) -> None:
    code = LevelsCode.fit(flow, public, keep, samples=4, probes=2)
    columns = code.directions.numpy()
    assert (columns[:32] >= 32).all(), "the coarsest level is the last 32 columns"
    assert (columns[32:] < 32).all()
    fewer = LevelsCode.fit(flow, public, 5, samples=4, probes=2)
    assert np.array_equal(fewer.directions.numpy(), columns[:5])


def test_the_flow_may_be_trained_on(flow: Glow, public: NDArray[np.uint8], others: NDArray[np.uint8]) -> None:
    twin = Glow(flow.config)
    twin.load_state_dict(flow.state_dict())
    code = GramCode.fit(twin, public, 2, samples=4)
    before = code.encode(others)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert np.array_equal(code.encode(others), before)
    assert all(parameter.requires_grad for parameter in twin.parameters())


@pytest.mark.parametrize("fit", [LevelsCode.fit, GramCode.fit], ids=KINDS)
def test_features_steer_what_is_kept(fit: object, flow: Glow, public: NDArray[np.uint8]) -> None:
    assert callable(fit)
    whole = fit(flow, public, 4, samples=8)
    corner = fit(flow, public, 4, samples=8, of=lambda shown: shown[:, :, :2, :2])
    assert not torch.equal(whole.directions, corner.directions)


@pytest.mark.parametrize("fit", [LevelsCode.fit, GramCode.fit], ids=KINDS)
def test_out_of_range_is_refused(fit: object, flow: Glow, public: NDArray[np.uint8]) -> None:
    assert callable(fit)
    for keep in (0, 65):
        with pytest.raises(ValueError, match=f"keep must be between 1 and 64, got {keep}"):
            fit(flow, public, keep)
    with pytest.raises(ValueError, match="samples must be 1 or more, got 0"):
        fit(flow, public, 2, samples=0)
    with pytest.raises(ValueError, match=r"images must be \(n, 1, 8, 8\)"):
        fit(flow, pictures(30, 0, size=16), 2)
    with pytest.raises(ValueError, match="must differ in every number"):
        fit(flow, np.repeat(public[:1], 30, axis=0), 2)


def test_directions_must_be_what_they_are(fitted: dict[str, KeptCode]) -> None:
    levels, gram = fitted["levels"], fitted["gram"]
    for wrong in ([1, 2, 3, 3], [1, 2, 3, 64], [-1, 2, 3, 4], [1, 2, 3]):
        with pytest.raises(ValueError, match="directions must be 4 different columns of a latent of 64"):
            levels.restored(levels.config(), {**levels.tensors(), "directions": torch.tensor(wrong)})
    with pytest.raises(ValueError, match="orthonormal"):
        gram.restored(gram.config(), {**gram.tensors(), "directions": 2 * gram.tensors()["directions"]})
