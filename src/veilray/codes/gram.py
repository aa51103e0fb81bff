"""What a flow's decoder shows: the averaged Gram matrix E[J^T J] of its Jacobian J = d f^-1 / dz, never formed.

The latent of a well-trained flow is isotropic: no direction of it has more variance than another. Its decoder is not.
A unit step along v changes the picture by |J v|, so the leading eigenvectors of E[J^T J] are the directions of the
latent that show most. Each product with it is one Jacobian-vector and one vector-Jacobian product a latent.

References:
    Finding Structure with Randomness: Probabilistic Algorithms for Constructing Approximate Matrix Decompositions
    (Halko, Martinsson and Tropp, 2011): subspace iteration (algorithm 4.4) and the Nystrom step (section 5.4).
    A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines (Hutchinson, 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import jvp, vjp, vmap

from veilray.flows import Condition, ConditionalGlow, Glow

__all__ = ["along", "decoder_gram", "gram_diagonal", "placed_along"]

_ROWS = 8
"""Latents differentiated at once."""
_COLUMNS = 8
"""Directions pushed through them at once: their activations stay at some tens of megabytes."""
_OVERSAMPLING = 8
"""Columns beyond those asked for; Halko, Martinsson and Tropp (2011) advise 5 to 10."""
_FLOOR = 1e-6
"""Of the largest eigenvalue: below it, single precision leaves nothing to see."""


@torch.no_grad()
def decoder_gram(
    flow: Glow | ConditionalGlow,
    latents: Tensor,
    columns: int,
    *,
    condition: Condition | None = None,
    iterations: int = 2,
    of: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the leading eigenpairs of E[J^T J] by randomised subspace iteration.

    Args:
        flow: the flow whose inverse is the decoder.
        latents: `(n, d)`, over which the Gram matrix is averaged; of public images.
        columns: k, eigenpairs wanted.
        condition: of the latents, one row each; for a conditional flow, and only there.
        iterations: products of the Gram matrix with a block of vectors, 1 or more; the last one is used twice, for
            the eigenvectors and the eigenvalues.
        of: a differentiable map of continuous pictures `(n, c, h, w)`, in -1/2 to 1/2, to the features whose change
            counts; the pixels themselves without it.
        seed: of the random start.
        on_step: called with products of a batch of latents done, and their number in all.

    Returns:
        The eigenvalues `(k,)`, largest first, and the eigenvectors `(d, k)`, orthonormal; both float64.

    Raises:
        ValueError: when `columns` or `iterations` is out of range, there is no latent, the condition does not go with
            the flow, or the Gram matrix is zero or not finite.
    """
    dimension = _checked(flow, latents)
    if not 1 <= columns <= dimension:
        raise ValueError(f"columns must be between 1 and {dimension}, got {columns}")
    if iterations < 1:
        raise ValueError(f"iterations must be 1 or more, got {iterations}")
    batches = list(_batches(flow, latents, condition, of))
    width = min(columns + _OVERSAMPLING, dimension)
    product = torch.randn(dimension, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    block = product
    for iteration in range(iterations):
        block, _ = torch.linalg.qr(product)
        product = torch.zeros_like(block)
        for index, (render, batch) in enumerate(batches):
            product += _gram_times(render, batch, block) / len(latents)
            if on_step:
                on_step(iteration * len(batches) + index + 1, iterations * len(batches))
    values, vectors = _nystrom(block, product)
    return values[:columns], vectors[:, :columns].contiguous()


@torch.no_grad()
def gram_diagonal(
    flow: Glow | ConditionalGlow,
    latents: Tensor,
    *,
    condition: Condition | None = None,
    probes: int = 8,
    of: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Estimate the diagonal of E[J^T J], `(d,)` float64: how much each latent element shows by itself.

    A probe is a row w of random signs: each element of (J^T w)^2 has the mean sum_i J_ij^2, which is the diagonal.

    Args:
        flow, latents, condition, of, seed: see `decoder_gram`.
        probes: probes a latent.
        on_step: called with batches of latents done, and their number in all.

    Raises:
        ValueError: when `probes` is out of range, there is no latent, or the diagonal is zero or not finite.
    """
    dimension = _checked(flow, latents)
    if probes < 1:
        raise ValueError(f"probes must be 1 or more, got {probes}")
    generator = torch.Generator().manual_seed(seed)
    batches = list(_batches(flow, latents, condition, of))
    total = torch.zeros(dimension, dtype=torch.float64)
    for index, (render, batch) in enumerate(batches):
        shown, pull = vjp(render, batch)[:2]
        signs = torch.randint(0, 2, (probes, *shown.shape), generator=generator).to(shown) * 2 - 1
        for sign in signs:
            total += pull(sign)[0].double().square().sum(0).cpu()
        if on_step:
            on_step(index + 1, len(batches))
    diagonal = total / (probes * len(latents))
    _refuse_nothing(diagonal)
    return diagonal


def along(directions: Tensor, latents: NDArray[np.float64]) -> NDArray[np.float64]:
    """The numbers `(n, k)` of latents `(n, d)` along orthonormal columns `(d, k)`."""
    return np.asarray(latents @ directions.numpy())


def placed_along(directions: Tensor, numbers: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """The latents `(n, d)` with these numbers `(n, k)` along orthonormal columns, and all else from `rest` `(n, d)`."""
    basis = directions.numpy()
    return np.asarray(rest + (numbers - rest @ basis) @ basis.T)


def _checked(flow: Glow | ConditionalGlow, latents: Tensor) -> int:
    dimension = flow.config.dimension
    if latents.ndim != 2 or latents.shape[1] != dimension or not len(latents):
        raise ValueError(f"latents must be (n, {dimension}) with n of 1 or more, got {tuple(latents.shape)}")
    return dimension


def _batches(
    flow: Glow | ConditionalGlow,
    latents: Tensor,
    condition: Condition | None,
    of: Callable[[Tensor], Tensor] | None,
) -> Iterator[tuple[Callable[[Tensor], Tensor], Tensor]]:
    """Some latents at a time, each with the map from them to what counts."""
    if condition is not None and len(condition) != len(latents):
        raise ValueError(f"condition must be one row a latent, {len(latents)}, got {len(condition)}")
    for start in range(0, len(latents), _ROWS):
        rows = slice(start, start + _ROWS)
        decode = _decoder(flow, None if condition is None else condition[rows])
        yield (decode if of is None else _composed(of, decode)), latents[rows].to(flow.device, flow.dtype)


def _decoder(flow: Glow | ConditionalGlow, condition: Condition | None) -> Callable[[Tensor], Tensor]:
    if isinstance(flow, Glow):
        if condition is not None:
            raise ValueError("condition must be none for a flow without conditions, got one")
        return flow.inverse
    if condition is None:
        raise ValueError("condition must be given for a conditional flow, got none")
    return lambda latents: flow.inverse(latents, condition)


def _composed(of: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda latents: of(decode(latents))


def _gram_times(render: Callable[[Tensor], Tensor], batch: Tensor, block: Tensor) -> Tensor:
    """The sum over the batch of J^T J block, `(d, w)` float64."""
    directions = block.T.to(batch)

    def push(direction: Tensor) -> Tensor:
        return torch.as_tensor(jvp(render, (batch,), (direction.expand_as(batch),))[1])

    changes = vmap(push, chunk_size=_COLUMNS)(directions)
    pull = vjp(render, batch)[1]
    columns = [pull(change)[0].double().sum(0) for change in changes]
    return torch.stack(columns, dim=1).cpu()


def _nystrom(block: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenpairs of the Nystrom approximation Y (Q^T Y)^-1 Y^T, from Q with orthonormal columns and Y = G Q."""
    core = block.T @ product
    _refuse_nothing(core.diagonal())
    weights, rotation = torch.linalg.eigh((core + core.T) / 2)
    root = product @ (rotation / weights.clamp(min=_FLOOR * float(weights.max())).sqrt())
    vectors, singular, _ = torch.linalg.svd(root, full_matrices=False)
    return singular.square(), vectors


def _refuse_nothing(diagonal: Tensor) -> None:
    if not bool(torch.isfinite(diagonal).all()) or not float(diagonal.max()) > 0:
        raise ValueError("the decoder's Gram matrix must be finite and not zero, got another: was the flow trained?")
