"""The mean of a variational autoencoder as content (Kingma and Welling 2014): what a picture is rebuilt from.

The decoder serves the fit alone; the kept code is the encoder's mean, read out by its principal components.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from veilray.codes.content import CONTENTS, Content, principal_components
from veilray.codes.convolutional import ConvContent, OnEpoch, train_content
from veilray.networks.evidence import evidence_terms
from veilray.networks.loop import cosine

__all__ = ["VaeMean"]

_BATCH = 128


@CONTENTS.register("vae")
class VaeMean(ConvContent):
    """The encoder's mean."""

    name = "vae"

    @classmethod
    def fit(
        cls,
        pictures: Tensor,
        keep: int,
        *,
        epochs: int | None = None,
        seed: int = 0,
        width: int = 32,
        beta: float = 1.0,
        learning_rate: float = 2e-3,
        on_epoch: OnEpoch | None = None,
        **options: Any,
    ) -> tuple[Content, Tensor]:
        """Train for `epochs` passes (default: about 2,000 steps); returns network and read-out.

        `beta` weighs the KL term against a Gaussian likelihood of learned variance.

        Raises:
            ValueError: for unknown options.
        """
        if options:
            raise ValueError(f"vae must be fitted with epochs, seed, width or beta, got {', '.join(sorted(options))}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            content = cls(pictures.shape[1], pictures.shape[2], width, max(32, keep))
            _train(content, pictures, epochs, beta, learning_rate, on_epoch)
        with torch.no_grad():
            means = torch.cat([content(chunk) for chunk in torch.split(pictures, _BATCH)]).double()
        return content, principal_components(means, keep)


class _Decoder(nn.Sequential):
    """Latents `(n, features)` to pictures `(n, channels, side, side)`."""

    def __init__(self, channels: int, side: int, width: int, features: int) -> None:
        start = -(-side // 4)
        super().__init__(
            nn.Linear(features, 2 * width * start * start),
            nn.ReLU(),
            nn.Unflatten(1, (2 * width, start, start)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(size=(side, side)),
            nn.Conv2d(width, channels, 3, padding=1),
        )


def _train(
    content: VaeMean,
    pictures: Tensor,
    epochs: int | None,
    beta: float,
    learning_rate: float,
    on_epoch: OnEpoch | None,
) -> None:
    features, channels, side = content.network.features, pictures.shape[1], pictures.shape[2]
    spread = nn.Linear(features, features)
    decoder = _Decoder(channels, side, content.network.width, features)
    log_noise = nn.Parameter(torch.tensor(-1.0))
    elements = channels * side * side

    def loss(chosen: Tensor) -> Tensor:
        mean = content(chosen)
        error, divergence = evidence_terms(chosen, (mean, spread(mean).clamp(-8, 4)), decoder)
        likelihood = 0.5 * error * (-2 * log_noise).exp() + elements * log_noise
        return (likelihood + beta * divergence).mean() / elements

    learned = [*content.parameters(), *spread.parameters(), *decoder.parameters(), log_noise]
    optimiser = torch.optim.AdamW(learned, learning_rate)
    batch = min(_BATCH, max(16, len(pictures) // 16))
    train_content(
        content, optimiser, pictures, loss, batch, epochs, lambda _: cosine(optimiser, learning_rate), on_epoch
    )
