"""CADP as published: its release step, and the system around it. **It has no guarantee.**

The published step, for a batch of latents: scale them so that the matrix norm of order 1 of the *whole batch* is the
radius r at most; add Laplace noise of scale r / epsilon; decode under the true label. Its epsilon is void. That norm is
the largest column sum: it couples all images of a batch, and of a batch of one image it bounds each element, not their
sum. Two such images may differ by 2 r d where the noise allows for r: epsilon is 2 d times the claim. The published
sweep sets r = min(epsilon / 2, 4), so that the noise is the same for every epsilon up to 8. And the label goes in and
comes out uncovered.

`numpy.random` draws the noise: this is an experiment by type. There is no `save`: no MODEL folder of it can exist.

References:
    Content-Aware Differential Privacy with Conditional Invertible Neural Networks (Toelle et al., 2022, 2207.14625).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.flows.quantisation import as_tensor
from veilray.methods.baselines.cadp_network import AS_CONFIGURED, CADPConfig, CADPNetwork

__all__ = [
    "CADPAsPublished",
    "published_clip",
    "published_noise_scale",
    "published_radius",
    "published_release",
]

Floats = NDArray[np.float64]

LARGEST_RADIUS = 4.0
"""Of the published sweep."""
LEVELS = 256.0
CHUNK = 256
"""Images that pass through the network at a time; no result depends on it."""


def published_clip(latents: Floats, radius: float) -> Floats:
    """Scale each batch `(..., n, d)` so that its matrix norm of order 1, its largest column sum, is within `radius`."""
    norm = np.linalg.norm(latents, ord=1, axis=(-2, -1), keepdims=True)
    return np.asarray(latents * (radius / np.maximum(norm, radius)))


def published_radius(epsilon: float) -> float:
    """The radius of the published sweep, min(epsilon / 2, 4).

    Raises:
        ValueError: for an epsilon that is not above 0 and finite.
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be above 0 and finite, got {epsilon}")
    return min(epsilon / 2, LARGEST_RADIUS)


def published_noise_scale(epsilon: float) -> float:
    """The Laplace scale r / epsilon: 1/2 for every epsilon up to 8."""
    return published_radius(epsilon) / epsilon


def published_release(latents: Floats, epsilon: float, rng: np.random.Generator, batch_size: int = 1) -> Floats:
    """Clip and noise latents `(n, d)`, batch by batch in the given order.

    What does not fill a last batch is left out, as published.

    Args:
        latents: rows of one image each.
        epsilon: what the publication claims, and what is not kept.
        rng: of the noise, for experiments only.
        batch_size: images that share a norm; of 1, the clip is weakest.

    Raises:
        ValueError: for a batch size that is not in [1, n].
    """
    if not 1 <= batch_size <= len(latents):
        raise ValueError(f"batch_size must be in [1, {len(latents)}], got {batch_size}")
    whole = len(latents) // batch_size * batch_size
    batches = latents[:whole].reshape(-1, batch_size, latents.shape[1])
    clipped = published_clip(batches, published_radius(epsilon)).reshape(whole, -1)
    return np.asarray(clipped + rng.laplace(0.0, published_noise_scale(epsilon), clipped.shape))


class CADPAsPublished:
    """The published system, for measurements. Not a `Method`: it cannot be saved, loaded or named by a user.

    Images are `(n, c, h, w)` uint8, labels `(n,)` whole numbers, latents `(n, d)` float64.
    """

    guarantee: ClassVar[None] = None
    """None: the published epsilon does not hold."""

    def __init__(self, network: CADPNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def fit(
        cls,
        images: NDArray[np.uint8],
        labels: NDArray[Any],
        levels: int,
        epochs: int = 100,
        max_minutes: float | None = None,
        seed: int = 0,
        *,
        config: CADPConfig = AS_CONFIGURED,
        batch_size: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> CADPAsPublished:
        """Train a network by maximum likelihood, published settings, and stop after `max_minutes` of `clock`.

        Raises:
            ValueError: for images or labels of another form, fewer images than a batch, or a loss that is not finite.
        """
        network = CADPNetwork(tuple(images.shape[1:]), levels, config, seed)
        pixels, told = _pixels(images, network.shape), _labels(labels, len(images))
        if not 1 <= batch_size <= len(pixels):
            raise ValueError(f"batch_size must be in [1, {len(pixels)}], got {batch_size}")
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, eps=1e-6
        )
        stop = math.inf if max_minutes is None else clock() + 60 * max_minutes
        network.train()
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(seed + 1)
            for _ in range(epochs):
                order = torch.randperm(len(pixels))
                for start in range(0, len(order) - batch_size + 1, batch_size):
                    rows = order[start : start + batch_size]
                    x = _in_unit_interval(pixels[rows], config.image_noise)
                    loss = -network.log_prob(x, told[rows]).mean() / network.dimension
                    if not math.isfinite(float(loss.detach())):
                        raise ValueError(f"the training loss must be finite, got {float(loss.detach())}: train shorter")
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                    if clock() >= stop:
                        return cls(network)
        return cls(network)

    @torch.no_grad()
    def encode(self, images: NDArray[np.uint8], labels: NDArray[Any]) -> Floats:
        """Map images to latents, each from itself and its label alone."""
        pixels, told = _pixels(images, self.network.shape), _labels(labels, len(images))
        latents = [
            self.network.call_and_ladj(((pixels[rows] + 0.5) / LEVELS).to(self._dtype), told[rows])[0]
            for rows in _chunks(len(pixels))
        ]
        return np.asarray(torch.cat(latents).double().numpy())

    @torch.no_grad()
    def decode(self, latents: Floats, labels: NDArray[Any]) -> NDArray[np.uint8]:
        """Map latents to images: the bin that each value lies in, clamped to [0, 1] first, as published."""
        given, told = torch.as_tensor(latents).to(self._dtype), _labels(labels, len(latents))
        values = [self.network.inverse(given[rows], told[rows]) for rows in _chunks(len(given))]
        levels = torch.cat(values).nan_to_num(nan=0.5) * LEVELS
        return np.asarray(levels.floor().clamp(0, LEVELS - 1).to(torch.uint8).numpy())

    @torch.no_grad()
    def bits_per_dimension(self, images: NDArray[np.uint8], labels: NDArray[Any], seed: int = 0) -> Floats:
        """Return -log2 of the likelihood of images, a pixel and channel: `(n,)`, in bits; uniform dequantisation."""
        pixels, told = _pixels(images, self.network.shape), _labels(labels, len(images))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nats = [
                self.network.log_prob(_in_unit_interval(pixels[rows], 0.0).to(self._dtype), told[rows])
                for rows in _chunks(len(pixels))
            ]
        bits = math.log2(LEVELS) - torch.cat(nats).double() / (math.log(2) * self.network.dimension)
        return np.asarray(bits.numpy())

    def release(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[Any],
        epsilon: float,
        rng: np.random.Generator,
        batch_size: int = 1,
    ) -> NDArray[np.uint8]:
        """The published pipeline: encode, `published_release`, decode under the true labels. Whole batches only."""
        drawn = published_release(self.encode(images, labels), epsilon, rng, batch_size)
        return self.decode(drawn, labels[: len(drawn)])

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


def _pixels(images: NDArray[np.uint8], shape: tuple[int, int, int]) -> Tensor:
    return as_tensor(images, shape, 8).float()


def _labels(labels: NDArray[Any], rows: int) -> Tensor:
    if len(labels) != rows:
        raise ValueError(f"labels must be {rows}, one an image, got {len(labels)}")
    return torch.as_tensor(np.asarray(labels)).to(torch.int64)


def _in_unit_interval(pixels: Tensor, noise: float) -> Tensor:
    """Pixels in [0, 1] with Gaussian noise of that deviation, or spread over their bins where it is 0."""
    if noise:
        return (pixels + 0.5) / LEVELS + noise * torch.randn_like(pixels)
    return (pixels + torch.rand_like(pixels)) / LEVELS


def _chunks(rows: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, max(rows, 1), CHUNK)]
