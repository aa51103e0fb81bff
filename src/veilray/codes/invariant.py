"""A self-supervised content: what of a picture stays when it is shifted, cropped, dimmed and partly covered.

A network is trained on public pictures without labels, so that two altered copies of a picture get the same features
while the features vary and stay uncorrelated over pictures (VICReg: Bardes, Ponce and LeCun 2022). Its features are
then read out in the order of invariance: the first number is the one whose variance owes most to the picture and least
to the alteration (the generalised eigenvectors of slow feature analysis, Wiskott and Sejnowski 2002, with
alterations in the place of time). Few numbers then carry much of what tells kinds of pictures apart, and a
directional release needs few numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import eigh
from torch import Tensor, nn

from veilray.codes.content import CONTENTS, Content
from veilray.codes.convolutional import ConvContent, OnEpoch, train_content
from veilray.networks.loop import cosine

__all__ = ["Invariant"]

_BATCH = 256
_PROJECTION = 128
_VIEWS = 4
"""Altered copies of each picture from which the invariance of a feature is measured."""


@CONTENTS.register("invariant")
class Invariant(ConvContent):
    """A small convolutional network whose features are alike for altered copies of a picture."""

    name = "invariant"

    @classmethod
    def fit(
        cls,
        pictures: Tensor,
        keep: int,
        *,
        epochs: int | None = None,
        seed: int = 0,
        width: int = 32,
        learning_rate: float = 2e-3,
        on_epoch: OnEpoch | None = None,
        **options: Any,
    ) -> tuple[Content, Tensor]:
        """Train for `epochs` passes over the public pictures `(n, c, side, side)`; returns network and read-out.

        By default so many passes that there are about 2,000 steps.

        Raises:
            ValueError: for unknown options, or a `keep` above the number of features.
        """
        if options:
            raise ValueError(f"invariant must be fitted with epochs, seed or width, got {', '.join(sorted(options))}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            content = cls(pictures.shape[1], pictures.shape[2], width)
            if keep > content.network.features:
                raise ValueError(f"keep must be at most {content.network.features} for invariant, got {keep}")
            _train(content, pictures, epochs, learning_rate, on_epoch)
            return content, _by_invariance(content, pictures, keep)


def _train(
    content: Invariant,
    pictures: Tensor,
    epochs: int | None,
    learning_rate: float,
    on_epoch: OnEpoch | None,
) -> None:
    features = content.network.features
    projector = nn.Sequential(
        nn.BatchNorm1d(features),
        nn.ReLU(),
        nn.Linear(features, 2 * _PROJECTION, bias=False),
        nn.BatchNorm1d(2 * _PROJECTION),
        nn.ReLU(),
        nn.Linear(2 * _PROJECTION, _PROJECTION),
    )
    optimiser = torch.optim.AdamW([*content.parameters(), *projector.parameters()], learning_rate, weight_decay=1e-4)
    train_content(
        content,
        optimiser,
        pictures,
        lambda chosen: _vicreg(projector(content(_altered(chosen))), projector(content(_altered(chosen)))),
        min(_BATCH, max(32, len(pictures) // 16)),
        epochs,
        lambda steps: cosine(optimiser, learning_rate, min(50, steps // 10 + 1)),
        on_epoch,
    )


def _vicreg(first: Tensor, second: Tensor) -> Tensor:
    """Invariance, variance and covariance terms with the weights 25, 25 and 1 of Bardes, Ponce and LeCun (2022)."""
    loss = 25 * F.mse_loss(first, second)
    for view in (first, second):
        centred = view - view.mean(0)
        deviation = (centred.var(0) + 1e-4).sqrt()
        covariance = centred.T @ centred / (len(centred) - 1)
        off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + 12.5 * F.relu(1 - deviation).mean() + 0.5 * off_diagonal / view.shape[1]
    return loss


def _altered(pictures: Tensor) -> Tensor:
    """A random copy of each picture: mirrored, turned, scaled, shifted, dimmed or brightened, noisy, partly covered."""
    count, side = len(pictures), pictures.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high)

    def column(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1, 1)

    angle, scale, stretch = uniform(-0.2, 0.2), uniform(0.75, 1.15), uniform(0.9, 1.1)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 0] = scale * stretch * angle.cos() * mirror
    maps[:, 0, 1] = -scale * angle.sin() * mirror
    maps[:, 1, 0] = scale * angle.sin()
    maps[:, 1, 1] = scale / stretch * angle.cos()
    maps[:, :, 2] = torch.empty(count, 2).uniform_(-0.22, 0.22)
    grid = F.affine_grid(maps, list(pictures.shape), align_corners=False)
    copies = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    copies = copies.clamp(0, 1) ** column(uniform(0.7, 1.5))
    copies = copies * column(uniform(0.6, 1.3)) + column(uniform(-0.1, 0.1)) * (copies > 0.02)
    copies = copies + torch.randn_like(copies) * column(uniform(0, 0.08))
    half = side // 6
    centre = torch.randint(0, side, (2, count, 1))
    near = (torch.arange(side) - centre).abs() < half
    covered = near[0][:, :, None] & near[1][:, None, :] & (torch.rand(count, 1, 1) < 0.5)
    return copies.masked_fill(covered[:, None], float(pictures.mean()))


@torch.no_grad()
def _by_invariance(content: Invariant, pictures: Tensor, keep: int) -> Tensor:
    """The basis `(f, keep)` in the order of invariance under `_altered`."""
    views = np.stack(
        [
            torch.cat([content(_altered(chunk)) for chunk in torch.split(pictures, _BATCH)]).double().numpy()
            for _ in range(_VIEWS)
        ]
    )
    total = np.mean([np.cov(view.T) for view in views], axis=0)
    noise = np.mean([np.cov((views[i] - views[i - 1]).T) for i in range(_VIEWS)], axis=0) / 2
    ridge = 1e-4 * np.trace(total) / len(total) * np.eye(len(total))
    _, vectors = eigh(total - noise, total + ridge)
    return torch.from_numpy(vectors[:, ::-1][:, :keep].copy())
