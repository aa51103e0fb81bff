"""A linear autoencoder: the principal components of the pixels, by a truncated singular value decomposition.

The variant of the obfuscation that its authors tried after the variational one (Popescu et al. 2023). The likelihood
that its bits per dimension are of is that of probabilistic principal components (Tipping and Bishop 1999): what the
kept components leave is noise of one variance.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from veilray.autoencoders.base import (
    AUTOENCODERS,
    Autoencoder,
    AutoencoderConfig,
    Images,
    OnProgress,
    check_fit,
)
from veilray.networks.artefact import check_tensors

__all__ = ["LinearAutoencoder", "LinearConfig"]

_MOST_NUMBERS = 2**28
"""Pixels that are decomposed at once, at most: 1 GiB of float32. Above, a random share of the images is taken."""
_ROUNDING = 1 / 12
"""Variance of a grey level's place within its bin."""


@dataclass(frozen=True)
class LinearConfig(AutoencoderConfig):
    """What must be known of a linear autoencoder; see `AutoencoderConfig`."""


@AUTOENCODERS.register("pca")
class LinearAutoencoder(Autoencoder):
    """Scores on the principal components, each divided by its standard deviation.

    Args:
        config: shape of the pictures, and how many components are kept.
        mean: `(pixels,)` in grey levels, of the middle of each level's bin.
        components: `(features, pixels)`, orthonormal rows, largest variance first.
        variances: `(features,)` of the scores, in squared grey levels.
        residual: `()`, mean variance of every direction that is not kept.
    """

    name = "pca"

    def __init__(
        self, config: LinearConfig, mean: Tensor, components: Tensor, variances: Tensor, residual: Tensor
    ) -> None:
        self.config, self.figures = config, {}
        self.mean, self.components, self.variances, self.residual = mean, components, variances, residual
        self._scale = (variances + _ROUNDING).sqrt()

    @classmethod
    def fit(
        cls,
        images: Images,
        validation: Images,
        *,
        features: int | None = None,
        seed: int = 0,
        epochs: int = 10,
        max_minutes: float | None = None,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> Self:
        """Decompose the images at once (randomised SVD: Halko, Martinsson and Tropp 2011); see `Autoencoder.fit`.

        There are no passes to count and little time to limit: `epochs` and `max_minutes` change nothing. Without
        `features`, no more components are kept than half the images.

        Raises:
            ValueError: for options, or more features than images less one, or than pixels.
        """
        if options:
            raise ValueError(f"pca must be fitted with features and seed alone, got {', '.join(sorted(options))}")
        shape = check_fit(images, validation, features)
        config = LinearConfig(shape.size, shape.channels, shape.features)
        started = time.monotonic()
        rows = _rows(images, seed)
        most = min(len(rows) - 1, config.pixels)
        if features is None:
            config = LinearConfig(shape.size, shape.channels, min(config.features, max(1, most // 2)))
        elif features > most:
            raise ValueError(f"features must be at most {most} with {len(rows)} images, got {features}")
        with np.errstate(invalid="ignore"):  # its shares of a variance of nothing, where all images are equal
            solver = PCA(config.features, svd_solver="randomized", random_state=seed).fit(rows)
        total = float(rows.var(0, dtype=np.float64).sum())
        variances = np.asarray(solver.explained_variance_, np.float64)
        # What the kept components took from a sample includes noise; this is exact where all of it is noise.
        unseen = len(rows) / max(1, len(rows) - 1 - config.features)
        residual = max(total - float(variances.sum()), 0.0) / max(config.pixels - config.features, 1) * unseen
        found = (solver.mean_ + 0.5, solver.components_, variances, np.asarray(residual))
        # Row by row and in torch's own memory, as `restore` has them: sums of float32 depend on the order of numbers.
        fitted = cls(config, *(torch.from_numpy(np.array(part, np.float32, order="C")).clone() for part in found))
        figures = fitted._measure(validation)
        if on_progress:
            on_progress(1, 1, f"held-out {figures['bits_per_dimension']:.3f} bits/dim")
        parameters = sum(tensor.numel() for tensor in fitted._tensors().values())
        fitted.figures = {**figures, "parameters": parameters, "seconds": round(time.monotonic() - started, 3)}
        return fitted

    def _encode(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        codes = self._scores(images) / self._scale
        if generator is None:
            return codes
        # The noise of probabilistic principal components, seen through the components.
        noise = torch.randn(codes.shape, generator=generator)
        return codes + noise * (self.residual + _ROUNDING).sqrt() / self._scale

    def _decode(self, codes: Tensor) -> Tensor:
        levels = torch.addmm(self.mean, codes * self._scale, self.components)
        return levels.reshape(-1, *self.config.shape)

    def _bits_per_dimension(self, images: Tensor) -> Tensor:
        """Jensen's bound of the dequantised density (Theis et al. 2016), its mean over a bin in closed form."""
        kept, left = (self.variances + _ROUNDING).double(), (self.residual + _ROUNDING).double()
        dimension, rest = self.config.pixels, self.config.pixels - self.config.features
        scores = self._scores(images).double()
        energy = (images.flatten(1) + 0.5 - self.mean).square().sum(1, dtype=torch.float64)
        beside = (energy - scores.square().sum(1)).clamp(min=0)
        inside = ((scores.square() + _ROUNDING) / kept).sum(1) + (beside + rest * _ROUNDING) / left
        volume = dimension * math.log(2 * math.pi) + kept.log().sum() + rest * left.log()
        return (volume + inside) / (2 * dimension * math.log(2))

    def _scores(self, images: Tensor) -> Tensor:
        return (images.flatten(1) + 0.5 - self.mean) @ self.components.T

    def _tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("mean", "components", "variances", "residual")}

    @classmethod
    def _restore(cls, config: dict[str, Any], figures: dict[str, float], tensors: Mapping[str, Tensor]) -> Self:
        described = LinearConfig(**config)
        features, pixels = described.features, described.pixels
        shapes: dict[str, tuple[int, ...]] = {"mean": (pixels,), "components": (features, pixels)}
        shapes |= {"variances": (features,), "residual": ()}
        check_tensors(tensors, {name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
        if bool((tensors["variances"] < 0).any()) or float(tensors["residual"]) < 0:
            raise ValueError("variances and residual must be 0 or more, got some below")
        restored = cls(described, *(tensors[name] for name in shapes))
        restored.figures = figures
        return restored


def _rows(images: Images, seed: int) -> NDArray[np.float32]:
    """The images as rows of grey levels; a random share of them where they are too many for the memory."""
    most = max(2, _MOST_NUMBERS // math.prod(images.shape[1:]))
    if len(images) > most:
        images = images[np.sort(np.random.default_rng(seed).choice(len(images), most, replace=False))]
    return images.reshape(len(images), -1).astype(np.float32)
