"""What is kept of a conditional latent: its directions in the order of how much they matter, measured on public images.

A flow's latent is isotropic, so which of its directions matter is asked of the decoder: of J = d h(f^-1(z; c)) / dz,
where h are the answers of a small network that was trained to tell the declared task on public images. The leading
eigenvectors of E[J^T J] are the directions that move those answers most, the eigenvalues say how much, and all other
directions, which hardly move them, are drawn from the prior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from veilray.codes.gram import along, decoder_gram, placed_along
from veilray.flows import Condition, ConditionalGlow
from veilray.networks.artefact import Artefact, unpacked
from veilray.networks.conv_features import ConvFeatures
from veilray.networks.task_reader import train_task_reader

__all__ = ["LatentDirections", "task_reader"]

_ARTEFACT = Artefact(
    "directions.json",
    format="veilray-latent-directions",
    what="the directions of the latent",
    stem="directions",
    key="tensors",
)
_TENSORS = ("directions", "importance", "mean", "deviation")
_LATENTS = 40
"""Public latents over which the decoder is averaged."""
_STANDARDISED = 2000
"""Public images that give each direction its mean and deviation."""
_CONSTANT = 1e-6
_STEPS, _BATCH = 400, 64


@dataclass(frozen=True)
class LatentDirections:
    """k directions of a latent of d elements, most important first, standardised on public images.

    Args:
        directions: `(d, k)` float64, orthonormal columns.
        importance: `(k,)` float64, above 0 and falling: mean squared change of the answers a unit step along each.
        mean, deviation: `(k,)` float64, of the public images' numbers.

    Raises:
        ValueError: when shapes do not fit, or a value is not finite or not as stated.
    """

    directions: Tensor
    importance: Tensor
    mean: Tensor
    deviation: Tensor

    def __post_init__(self) -> None:
        if self.importance.ndim != 1 or not len(self.importance):
            raise ValueError(f"importance must be (k,) with k at least 1, got {tuple(self.importance.shape)}")
        keep = len(self.importance)
        if self.directions.ndim != 2 or self.directions.shape[1] != keep or keep > len(self.directions):
            raise ValueError(f"directions must be (d, {keep}), got {tuple(self.directions.shape)}")
        if self.mean.shape != (keep,) or self.deviation.shape != (keep,):
            raise ValueError(f"mean and deviation must be ({keep},), got others")
        if not all(bool(torch.isfinite(getattr(self, name)).all()) for name in _TENSORS) or not bool(
            self.importance.sum().isfinite()
        ):
            raise ValueError("directions must be finite, got other values")
        if not (bool((self.importance > 0).all()) and bool((self.deviation > 0).all())):
            raise ValueError("importance and deviation must be above 0, got others")

    @classmethod
    def fit(
        cls,
        flow: ConditionalGlow,
        images: NDArray[Any],
        condition: Condition,
        keep: int,
        answers: Callable[[Tensor], Tensor] | None,
        *,
        seed: int = 0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> LatentDirections:
        """Find `keep` directions through the decoder, over public images under their own conditions.

        Args:
            answers: a differentiable map of pictures in [0, 1] to what counts; the pixels themselves without it.

        Raises:
            ValueError: for fewer than 2 images, or more directions than the latent has.
        """
        if len(images) < 2:
            raise ValueError(f"images must be 2 or more, got {len(images)}")
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).numpy()
        some = np.sort(order[:_STANDARDISED])
        latents = flow.encode(np.asarray(images[some]), condition[some]).flat().double()
        shown = None if answers is None else (lambda pictures: answers(pictures + 0.5))
        values, vectors = decoder_gram(
            flow, latents[:_LATENTS], keep, condition=condition[some[:_LATENTS]], of=shown, seed=seed, on_step=on_step
        )
        numbers = latents @ vectors
        deviation = numbers.std(dim=0)
        seen = (values > 0) & (deviation > _CONSTANT)
        return cls(vectors[:, seen].contiguous(), values[seen], numbers.mean(dim=0)[seen], deviation[seen])

    @property
    def keep(self) -> int:
        """Directions kept."""
        return len(self.importance)

    def read(self, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers `(n, k)` of latents `(n, d)`, of about mean 0 and deviation 1 over public images."""
        rows: NDArray[np.float64] = (along(self.directions, latents) - self.mean.numpy()) / self.deviation.numpy()
        return rows

    def place(self, numbers: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
        """The latents `(n, d)` whose numbers are `(n, k)`, and all else that of `rest` `(n, d)`: the prior's draw."""
        return placed_along(self.directions, numbers * self.deviation.numpy() + self.mean.numpy(), rest)

    def share_of_levels(self, shapes: Sequence[tuple[int, ...]]) -> list[float]:
        """How the importance is spread over the levels of the latent, finest first; the shares sum to 1."""
        weights = (self.directions.square() * self.importance).sum(dim=1)
        sizes = [int(np.prod(shape)) for shape in shapes]
        return [float(part.sum() / weights.sum()) for part in torch.split(weights, sizes)]

    def save(self, folder: Path) -> str:
        """Write `directions.json` and its tensors; return the SHA-256 of the JSON, which names the tensors' hash."""
        return _ARTEFACT.save(folder, {name: getattr(self, name) for name in _TENSORS}, {})

    @classmethod
    def load(cls, folder: Path) -> tuple[LatentDirections, str]:
        """Read what `save` wrote, with the SHA-256 of its JSON.

        Raises:
            ValueError: for a file that is missing, truncated, altered or foreign.
        """
        tensors = unpacked(_ARTEFACT.content(folder, _ARTEFACT.fields(folder)), folder)
        try:
            found = cls(**{name: tensors[name].double() for name in _TENSORS})
        except KeyError as error:
            raise ValueError(f"the weights in {folder} must hold {', '.join(_TENSORS)}, got no {error}") from None
        return found, _ARTEFACT.sha256(folder)


def task_reader(
    images: NDArray[Any], targets: NDArray[Any], bits: int, *, seed: int = 0, steps: int = _STEPS
) -> nn.Module:
    """Train a small network to tell the task from **public** pictures.

    Args:
        images: `(n, c, h, w)` integers.
        targets: `(n,)` int64 levels for a category, float for a number on the scale -1 to 1.
        bits: a pixel.
        seed: of the weights and the draws.
        steps: of training.

    Returns:
        A module in evaluation mode: pictures `(n, c, h, w)` in [0, 1] to one number a level, or one number.

    Raises:
        ValueError: for fewer than two images, or a single level.
    """

    def pictures(chosen: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.asarray(images[chosen]).astype(np.float32) / (2**bits - 1))

    return train_task_reader(
        lambda outputs: ConvFeatures(images.shape[1], images.shape[2], 16, outputs),
        pictures,
        targets,
        "images",
        batch_size=_BATCH,
        learning_rate=2e-3,
        steps=steps,
        seed=seed,
    )
