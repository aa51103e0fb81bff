"""The mean of a variational autoencoder as content (Kingma and Welling 2014): what a picture is rebuilt from.

The decoder serves the fit alone; the kept code is the encoder's mean, read out by its principal components.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from veilray.codes.content import CONTENTS, Content
from veilray.networks.conv_features import ConvFeatures

__all__ = ["VaeMean"]

_BATCH = 128
_STEPS = 2000


@CONTENTS.register("vae")
class VaeMean(Content):
    """The encoder's mean; see `ConvFeatures` for its sizes."""

    name = "vae"

    def __init__(self, channels: int, side: int, width: int = 32, features: int = 32) -> None:
        super().__init__()
        self.side = side
        self.network = ConvFeatures(channels, side, width, features)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the mean `(n, features)` of the latent."""
        return torch.as_tensor(self.network(pictures))

    def sizes(self) -> dict[str, int]:
        return self.network.sizes()

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
        on_epoch: Callable[[int, int], None] | None = None,
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
        content.eval()
        with torch.no_grad():
            means = torch.cat([content(chunk) for chunk in torch.split(pictures, _BATCH)]).double()
        _, _, components = torch.linalg.svd(means - means.mean(0), full_matrices=False)
        return content, components[:keep].T.contiguous()


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
    on_epoch: Callable[[int, int], None] | None,
) -> None:
    features, channels, side = content.network.features, pictures.shape[1], pictures.shape[2]
    spread = nn.Linear(features, features)
    decoder = _Decoder(channels, side, content.network.width, features)
    log_noise = nn.Parameter(torch.tensor(-1.0))
    parameters = [*content.parameters(), *spread.parameters(), *decoder.parameters(), log_noise]
    optimiser = torch.optim.AdamW(parameters, learning_rate)
    batch = min(_BATCH, max(16, len(pictures) // 16))
    steps = max(1, len(pictures) // batch)
    epochs = epochs or -(-_STEPS // steps)
    content.train()
    for epoch in range(epochs):
        order = torch.randperm(len(pictures))
        for step in range(steps):
            rate = 0.5 * (1 + math.cos(math.pi * (epoch * steps + step) / (epochs * steps)))
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * rate
            chosen = pictures[order[step * batch : (step + 1) * batch]]
            mean = content(chosen)
            log_variance = spread(mean).clamp(-8, 4)
            rebuilt = decoder(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
            error = F.mse_loss(rebuilt, chosen, reduction="none").sum(dim=(1, 2, 3))
            elements = channels * side * side
            likelihood = 0.5 * error * (-2 * log_noise).exp() + elements * log_noise
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
            loss = (likelihood + beta * divergence).mean() / elements
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        if on_epoch:
            on_epoch(epoch + 1, epochs)
