"""A convolutional variational autoencoder (Kingma and Welling 2014) for pictures of 28 to 256 pixels.

The likelihood is a Gaussian of one variance on grey levels that are spread over their bins. Its mean over a bin has a
closed form, so the negative evidence bound, in bits a number, is a true upper bound of a lossless coder's need (Theis,
van den Oord and Bethge 2016). The variance is fixed, or the best one: the mean squared error (Rybkin et al. 2021).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.autoencoders.base import (
    AUTOENCODERS,
    Autoencoder,
    AutoencoderConfig,
    Images,
    OnProgress,
    check_fit,
)
from veilray.autoencoders.network import VaeNetwork
from veilray.networks.artefact import check_tensors
from veilray.networks.blocks import seeded
from veilray.networks.evidence import drawn, evidence_terms
from veilray.networks.loop import Loop, cosine, shuffled_rows
from veilray.networks.settings import TrainingSettings

__all__ = ["VaeConfig", "VariationalAutoencoder"]

_MOST_WIDTH = 4096
_WARM_UP = 50
_WEIGHT_DECAY = 1e-2
_LARGEST_GRADIENT = 1.0
_ROUNDING = 1 / 12
"""Variance of a grey level's place within its bin."""
_STATISTICS = 2000
"""Images that the scale of the pixels is of."""


@dataclass(frozen=True)
class VaeConfig(AutoencoderConfig):
    """What must be known of a variational autoencoder.

    Args:
        size, channels, features: see `AutoencoderConfig`.
        width: channels of the finest grid; see `VaeNetwork`.
        kl_weight: what a nat of the code weighs against a nat of the pixels in the fit. 1 is the bound itself; above,
            codes hold less (Higgins et al. 2017). The figures are always those of weight 1.
        noise: standard deviation of the likelihood in grey levels; None fits it.
    """

    width: int
    kl_weight: float = 1.0
    noise: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.width, bool) or not isinstance(self.width, int) or not 1 <= self.width <= _MOST_WIDTH:
            raise ValueError(f"width must be a whole number from 1 to {_MOST_WIDTH}, got {self.width!r}")
        if not 0 <= self.kl_weight < math.inf:
            raise ValueError(f"kl_weight must be 0 or more, got {self.kl_weight}")
        if self.noise is not None and not 0 < self.noise <= 255:
            raise ValueError(f"noise must be in (0, 255] grey levels, got {self.noise}")


@AUTOENCODERS.register("vae")
class VariationalAutoencoder(Autoencoder):
    """Means, or draws, of a code that is about standard normal, and the network that rebuilds pictures from it.

    Args:
        config: shape and likelihood.
        centre: `(c, size, size)`, mean grey level of each pixel over the training images, at the middle of its bin.
        scale: `()`, standard deviation of the grey levels about it.
    """

    name = "vae"
    config: VaeConfig

    def __init__(self, config: VaeConfig, centre: Tensor, scale: Tensor) -> None:
        self.config, self.figures = config, {}
        self.centre, self.scale = centre, scale
        self.variance = torch.tensor(1.0 if config.noise is None else config.noise**2)
        network = VaeNetwork(config.size, config.channels, config.features, config.width)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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
        width: int | None = None,
        kl_weight: float = 1.0,
        noise: float | None = None,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        **options: Any,
    ) -> Self:
        """Train by gradient steps on the evidence bound; see `Autoencoder.fit` and `VaeConfig`.

        Raises:
            ValueError: for unknown options, values outside their range, or a loss that is not finite.
        """
        if options:
            known = "width, kl_weight, noise, batch_size or learning_rate"
            raise ValueError(f"vae must be fitted with {known}, got {', '.join(sorted(options))}")
        shape = check_fit(images, validation, features)
        chosen = _default_width(shape.size) if width is None else width
        config = VaeConfig(shape.size, shape.channels, shape.features, chosen, kl_weight, noise)
        settings = TrainingSettings(epochs, batch_size, learning_rate, _WEIGHT_DECAY, seed, max_minutes)
        started = time.monotonic()
        fitted = seeded(lambda: cls(config, *_standard(images)), seed)
        fitted._train(images, settings, on_progress)
        if noise is None:
            fitted.variance = fitted._best_variance(images)
        parameters = sum(weight.numel() for weight in fitted.network.parameters())
        kl_bits = fitted._code_bits(validation)
        fitted.figures = {**fitted._measure(validation), "kl_bits": kl_bits, "parameters": parameters}
        fitted.figures["seconds"] = round(time.monotonic() - started, 3)
        return fitted

    def _train(self, images: Images, settings: TrainingSettings, on_progress: OnProgress | None) -> None:
        """Lower the bound in place; the rate falls to 0 at the last step, or minute where those run faster."""
        batch, rate = min(settings.batch_size, len(images)), settings.learning_rate
        steps = len(images) // batch
        generator = torch.Generator().manual_seed(settings.seed)
        weights = self.network.parameters()
        optimiser = torch.optim.AdamW(weights, rate, weight_decay=settings.weight_decay, fused=True)
        bits = 0.0

        def loss(chosen: NDArray[np.int64]) -> Tensor:
            nonlocal bits
            nats, bits = self._loss(images[chosen], generator)
            return nats

        def report() -> None:
            if on_progress:
                note = f"epoch {loop.state.epoch + 1} of {settings.epochs}: {bits:.3f} bits/dim"
                on_progress(loop.step, settings.epochs * steps, note)

        loop = Loop(
            self.network,
            optimiser,
            lambda epoch: shuffled_rows(len(images), batch, settings.seed, epoch),
            loss,
            epochs=settings.epochs,
            steps=steps,
            schedule=cosine(optimiser, rate, _WARM_UP),
            clip_norm=_LARGEST_GRADIENT,
            max_minutes=settings.max_minutes,
            on_step=report,
            advice=f"use --learning-rate {rate / 3:.1g}",
        )
        loop.run()
        self.network.eval()

    def _encode(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        pictures = self._standardised(images)
        if generator is None:
            return self.network.mean(self.network.hidden(pictures))  # type: ignore[no-any-return]
        mean, log_variance = self.network.law(pictures)
        return drawn(mean, log_variance, generator)

    def _decode(self, codes: Tensor) -> Tensor:
        return torch.addcmul(self.centre, self.network.decode(codes), self.scale)

    def _bits_per_dimension(self, images: Tensor) -> Tensor:
        error, divergence = self._terms(images, torch.Generator().manual_seed(0))
        dimension = self.config.pixels
        energy = (error + dimension * _ROUNDING) / self.variance + dimension * (2 * math.pi * self.variance).log()
        return (0.5 * energy + divergence) / (dimension * math.log(2))

    def _loss(self, batch: Images, generator: torch.Generator) -> tuple[Tensor, float]:
        """Nats a number to be lowered, and the bits a number of the bound. With free noise, under the batch's best."""
        error, divergence = self._terms(torch.from_numpy(batch.astype(np.float32)), generator)
        dimension = self.config.pixels
        mean_square = error.mean() / dimension + _ROUNDING
        if self.config.noise is None:
            pixels = 0.5 * (2 * math.pi * math.e * mean_square).log()
        else:
            pixels = 0.5 * (mean_square / self.variance + (2 * math.pi * self.variance).log())
        code = divergence.mean() / dimension
        return pixels + self.config.kl_weight * code, float((pixels + code).detach()) / math.log(2)

    def _terms(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Squared error in grey levels under one draw of the code, and its divergence in nats, `(n,)` both."""
        pictures = self._standardised(images)
        error, divergence = evidence_terms(pictures, self.network.law(pictures), self.network.decode, generator)
        return error * self.scale.square(), divergence

    def _standardised(self, images: Tensor) -> Tensor:
        pictures = (images + 0.5 - self.centre) / self.scale
        return pictures.to(memory_format=torch.channels_last)

    def _best_variance(self, images: Images) -> Tensor:
        """Mean squared error of the training images: the variance that makes the bound lowest."""
        total, count = 0.0, 0
        with torch.inference_mode():
            for chunk in _spread(images):
                error, _ = self._terms(chunk, torch.Generator().manual_seed(0))
                total, count = total + float(error.double().sum()), count + len(chunk)
        return torch.tensor(total / (count * self.config.pixels) + _ROUNDING)

    def _code_bits(self, images: Images) -> float:
        """Mean bits that the code of a picture holds."""
        with torch.inference_mode():
            nats = [self._terms(chunk, torch.Generator().manual_seed(0))[1] for chunk in _spread(images)]
        return float(torch.cat(nats).mean()) / math.log(2)

    def _tensors(self) -> dict[str, Tensor]:
        weights = {f"network.{name}": weight for name, weight in self.network.state_dict().items()}
        return {"centre": self.centre, "scale": self.scale, "variance": self.variance, **weights}

    @classmethod
    def _restore(cls, config: dict[str, Any], figures: dict[str, float], tensors: Mapping[str, Tensor]) -> Self:
        described = VaeConfig(**config)
        with torch.device("meta"):  # a stranger's config must not make this machine build more than the file holds
            outline = cls(described, torch.empty(described.shape), torch.empty(()))
        check_tensors(tensors, outline._tensors())
        if not (float(tensors["scale"]) > 0 and float(tensors["variance"]) > 0):
            raise ValueError("scale and variance must be above 0, got one that is not")
        restored = cls(described, tensors["centre"], tensors["scale"])
        weights = {name: tensors[f"network.{name}"] for name in outline.network.state_dict()}
        restored.network.load_state_dict(weights)
        restored.network.eval()
        restored.variance, restored.figures = tensors["variance"], figures
        return restored


def _default_width(size: int) -> int:
    """Channels that rebuild some 3,000 pictures of 64 x 64 a second on one core; small pictures have time left."""
    return 64 if size <= 32 else 48


def _spread(images: Images) -> Iterator[Tensor]:
    """At most 2,000 of the images, evenly from all, in chunks of float32 grey levels."""
    chosen = np.linspace(0, len(images) - 1, min(len(images), _STATISTICS)).astype(int)
    for part in np.array_split(chosen, -(-len(chosen) // 64)):
        yield torch.from_numpy(images[part].astype(np.float32))


def _standard(images: Images) -> tuple[Tensor, Tensor]:
    """Mean of each pixel, and one standard deviation about it, at least a grey level."""
    total, square, count = torch.zeros(images.shape[1:], dtype=torch.float64), 0.0, 0
    for chunk in _spread(images):
        total, count = total + chunk.double().sum(0), count + len(chunk)
    centre = (total / count + 0.5).float()
    for chunk in _spread(images):
        square += float((chunk + 0.5 - centre).double().square().sum())
    return centre, torch.tensor(max(1.0, math.sqrt(square / (count * centre.numel()))))
