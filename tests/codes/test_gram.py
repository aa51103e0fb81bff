"""The decoder's Gram matrix, against the explicit Jacobian of a tiny flow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.codes import decoder_gram, gram_diagonal
from veilray.flows import Glow

ROWS = 11  # more than one batch, and not a whole number of them


@pytest.fixture(scope="module")
def latents(flow: Glow, public: NDArray[np.uint8]) -> Tensor:
    return flow.encode(public[:ROWS]).flat()


def summary(pictures: Tensor) -> Tensor:
    """Some non-linear features: squared sums of the picture's columns, and its mean."""
    return torch.cat((pictures.sum(dim=2).flatten(1).square(), pictures.mean(dim=(1, 2, 3))[:, None]), dim=1)


def explicit(flow: Glow, latents: Tensor, *, features: bool) -> Tensor:
    def one(latent: Tensor) -> Tensor:
        picture = flow.inverse(latent[None])
        return (summary(picture) if features else picture).flatten()

    jacobians = [torch.autograd.functional.jacobian(one, latent).double() for latent in latents]
    return torch.stack([jacobian.T @ jacobian for jacobian in jacobians]).mean(0)


@pytest.fixture(scope="module", params=[False, True], ids=["pixels", "features"])
def case(request: pytest.FixtureRequest, flow: Glow, latents: Tensor) -> tuple[bool, Tensor]:
    return request.param, explicit(flow, latents, features=request.param)


def test_leading_eigenpairs_are_those_of_the_matrix(flow: Glow, latents: Tensor, case: tuple[bool, Tensor]) -> None:
    features, matrix = case
    values, vectors = decoder_gram(flow, latents, 4, iterations=3, of=summary if features else None)
    expected_values, expected = torch.linalg.eigh(matrix)
    expected_values, expected = expected_values.flip(0)[:4], expected.flip(1)[:, :4]
    assert values.dtype == vectors.dtype == torch.float64
    assert torch.allclose(values, expected_values, rtol=0.03)
    cosines = torch.linalg.svdvals(expected.T @ vectors)
    assert cosines.min() > 0.98
    assert torch.allclose(vectors.T @ vectors, torch.eye(4, dtype=torch.float64), atol=1e-9)


def test_more_iterations_come_closer(flow: Glow, latents: Tensor) -> None:
    exact = torch.linalg.eigvalsh(explicit(flow, latents, features=False)).flip(0)[:6]
    errors = [
        float((decoder_gram(flow, latents, 6, iterations=iterations)[0] - exact).abs().sum())
        for iterations in (1, 2, 4)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_all_columns_are_the_whole_matrix(flow: Glow, latents: Tensor) -> None:
    matrix = explicit(flow, latents, features=False)
    values, vectors = decoder_gram(flow, latents, 64)
    assert torch.allclose(vectors @ values.diag() @ vectors.T, matrix, atol=1e-3 * float(matrix.max()))


def test_diagonal_is_that_of_the_matrix(flow: Glow, latents: Tensor, case: tuple[bool, Tensor]) -> None:
    features, matrix = case
    diagonal = gram_diagonal(flow, latents, probes=300, of=summary if features else None)
    assert diagonal.shape == (64,)
    assert float(((diagonal - matrix.diagonal()).abs() / matrix.diagonal()).median()) < 0.03
    assert torch.corrcoef(torch.stack((diagonal, matrix.diagonal())))[0, 1] > 0.99


def test_same_seed_same_answer(flow: Glow, latents: Tensor) -> None:
    assert all(map(torch.equal, decoder_gram(flow, latents, 3, seed=5), decoder_gram(flow, latents, 3, seed=5)))
    first, same, other = (gram_diagonal(flow, latents, probes=1, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_progress_ends_at_the_end(flow: Glow, latents: Tensor) -> None:
    steps: list[tuple[int, int]] = []
    decoder_gram(flow, latents, 2, iterations=3, on_step=lambda done, of: steps.append((done, of)))
    assert steps == [(step, 6) for step in range(1, 7)]


def test_leaves_the_flow_as_it_was(flow: Glow, latents: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    decoder_gram(flow, latents, 2)
    gram_diagonal(flow, latents)
    assert all(torch.equal(tensor, before[name]) for name, tensor in flow.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in flow.parameters())


@pytest.mark.parametrize(
    ("columns", "iterations", "message"),
    [
        (0, 1, "columns must be between 1 and 64, got 0"),
        (65, 1, "columns must be between 1 and 64, got 65"),
        (2, 0, "iterations must be 1 or more, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(
    flow: Glow, latents: Tensor, columns: int, iterations: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        decoder_gram(flow, latents, columns, iterations=iterations)


def test_latents_of_another_shape_are_refused(flow: Glow, latents: Tensor) -> None:
    for wrong in (latents[:, 1:], latents[:0], latents[0]):
        with pytest.raises(ValueError, match=r"latents must be \(n, 64\)"):
            decoder_gram(flow, wrong, 2)
        with pytest.raises(ValueError, match=r"latents must be \(n, 64\)"):
            gram_diagonal(flow, wrong)
    with pytest.raises(ValueError, match="probes must be 1 or more, got 0"):
        gram_diagonal(flow, latents, probes=0)


def test_features_that_do_not_change_are_refused(flow: Glow, latents: Tensor) -> None:
    with pytest.raises(ValueError, match="must be finite and not zero"):
        decoder_gram(flow, latents, 2, of=lambda pictures: 0 * pictures)
    with pytest.raises(ValueError, match="must be finite and not zero"):
        gram_diagonal(flow, latents, of=lambda pictures: float("nan") * pictures)
