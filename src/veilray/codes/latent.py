"""Kept codes in the latent of a flow: some of its numbers, chosen by what they show in the picture.

A picture under such a code is drawn without a conditional network: the kept part of the latent is the code, the rest
is drawn from the prior, and the flow decodes both (`place`). The flow is part of the code and leaves with it, since a
recipient needs it to compute the code of a picture of their own.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from itertools import accumulate, pairwise
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.codes.base import KEPT_CODES, KeptCode
from veilray.codes.gram import along, decoder_gram, gram_diagonal, placed_along
from veilray.codes.reference import Reference
from veilray.flows import Glow, GlowConfig
from veilray.flows.quantisation import as_tensor
from veilray.networks.artefact import rebuilt

__all__ = ["GramCode", "LatentCode", "LevelsCode"]

_CHUNK = 256
_CONSTANT = 1e-6
"""A number whose deviation is below never changes but by rounding: over pictures, a latent's is about 1."""
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class LatentCode(KeptCode):
    """k numbers of a flow's latent, standardised on public images and nested: the first j are the code of j numbers.

    Args:
        flow: the flow; it is kept as it is and must not be trained further.
        directions: where the numbers are in the latent; see the subclass.
        eigenvalues: `(k,)` float64: mean squared change of the picture (or its features) a unit step along each.
        mean, deviation: `(k,)` float64, of the public images' numbers.
        reference: the law of the public images' codes.

    Raises:
        ValueError: when the shapes do not fit.
    """

    def __init__(
        self, flow: Glow, directions: Tensor, eigenvalues: Tensor, mean: Tensor, deviation: Tensor, reference: Reference
    ) -> None:
        keep = len(eigenvalues)
        self._check(directions, keep, flow.config.dimension)
        if mean.shape != (keep,) or deviation.shape != (keep,) or reference.dimension != keep:
            raise ValueError(f"mean, deviation and reference must be of {keep} numbers, got other shapes")
        self.flow, self.directions, self.eigenvalues = flow, directions, eigenvalues
        self.mean, self.deviation, self.reference = mean, deviation, reference

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.flow.config.shape

    @property
    def bits(self) -> int:
        return self.flow.config.bits

    @property
    def dimension(self) -> int:
        return len(self.eigenvalues)

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        return self._standardised(_numbers(self.flow, images, lambda latents: self._read(self.directions, latents)))

    def read(self, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        """The code rows `(n, k)` of latents `(n, d)`. Raises ValueError for another shape."""
        self._refuse("latents", latents, len(latents), self.flow.config.dimension)
        return self._standardised(self._read(self.directions, latents))

    def place(self, codes: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
        """The latents `(n, d)` whose kept part is `codes` `(n, k)`, and all else that of `rest` `(n, d)`.

        `read(place(codes, rest))` is `codes`. Draw `rest` from the prior N(0, I).

        Raises:
            ValueError: for other shapes.
        """
        self._refuse("codes", codes, len(codes), self.dimension)
        self._refuse("rest", rest, len(codes), self.flow.config.dimension)
        numbers = codes * self.deviation.numpy() + self.mean.numpy()
        return self._write(self.directions, numbers, np.asarray(rest, dtype=np.float64))

    def first(self, keep: int) -> Self:
        """The code of the first `keep` numbers. Raises ValueError when there are fewer."""
        if not 1 <= keep <= self.dimension:
            raise ValueError(f"keep must be between 1 and {self.dimension}, got {keep}")
        return type(self)(
            self.flow,
            self.directions[..., :keep].contiguous(),
            self.eigenvalues[:keep],
            self.mean[:keep],
            self.deviation[:keep],
            self.reference.first(keep),
        )

    def config(self) -> dict[str, Any]:
        return {"flow": self.flow.config.to_dict(), "dtype": str(self.flow.dtype).removeprefix("torch.")}

    def tensors(self) -> dict[str, Tensor]:
        own = {name: getattr(self, name) for name in ("directions", "eigenvalues", "mean", "deviation")}
        weights = {f"flow.{name}": tensor.detach().cpu() for name, tensor in self.flow.state_dict().items()}
        return {**own, **self.reference.tensors(), **weights}

    @classmethod
    def restored(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        shape = GlowConfig(**config["flow"])
        if shape.levels * shape.steps > len(tensors):
            raise ValueError(f"steps and levels must be those of {len(tensors)} tensors, got {shape}")
        flow = rebuilt(lambda: Glow(shape).to(_DTYPES[config["dtype"]]), tensors, "flow.")
        return cls(
            flow.requires_grad_(False),
            tensors["directions"],
            tensors["eigenvalues"],
            tensors["mean"],
            tensors["deviation"],
            Reference.restored(tensors),
        )

    # What a kind says: how its directions read and write a latent.

    @staticmethod
    @abstractmethod
    def _read(directions: Tensor, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers `(n, k)`, not standardised, of latents `(n, d)`."""

    @staticmethod
    @abstractmethod
    def _write(directions: Tensor, numbers: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
        """The latents `(n, d)` with these numbers `(n, k)` and all else from `rest`."""

    @staticmethod
    @abstractmethod
    def _check(directions: Tensor, keep: int, dimension: int) -> None:
        """Raise ValueError when the directions are not `keep` of a latent of `dimension`."""

    def _standardised(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = (numbers - self.mean.numpy()) / self.deviation.numpy()
        return rows

    @staticmethod
    def _refuse(what: str, rows: NDArray[np.float64], count: int, columns: int) -> None:
        if rows.shape != (count, columns):
            raise ValueError(f"{what} must be ({count}, {columns}), got {rows.shape}")

    @classmethod
    def _fitted(cls, flow: Glow, images: NDArray[Any], directions: Tensor, eigenvalues: Tensor) -> Self:
        """Standardise on all public images, and fit their law."""
        numbers = _numbers(flow, images, lambda latents: cls._read(directions, latents))
        mean, deviation = numbers.mean(axis=0), numbers.std(axis=0, ddof=1)
        if not deviation.min() > _CONSTANT:
            raise ValueError("public images must differ in every number of their code, got one that never changes")
        reference = Reference.fit((numbers - mean) / deviation)
        return cls(flow, directions, eigenvalues, torch.from_numpy(mean), torch.from_numpy(deviation), reference)


@KEPT_CODES.register("levels")
class LevelsCode(LatentCode):
    """Elements of the coarsest level of the latent, those that show most first; then of the next level, if need be.

    `directions` is `(k,)` int64: columns of the flat latent. Coarse levels as content: Dinh, Sohl-Dickstein and Bengio
    (2017), appendix D.
    """

    name: ClassVar[str] = "levels"

    @classmethod
    def fit(
        cls,
        flow: Glow,
        images: NDArray[Any],
        keep: int = 16,
        seed: int = 0,
        *,
        samples: int = 64,
        probes: int = 8,
        of: Callable[[Tensor], Tensor] | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> LevelsCode:
        """Choose the elements, and standardise them, on public integer images `(n, c, h, w)`.

        Args:
            samples: public images at which the decoder is differentiated, at most.
            seed, probes, of, on_step: see `gram_diagonal`.

        Raises:
            ValueError: for fewer than 20 images, images that are not the flow's, or a `keep` out of range.
        """
        flow, latents = _prepared(flow, images, keep, samples, seed)
        diagonal = gram_diagonal(flow, latents, probes=probes, of=of, seed=seed, on_step=on_step)
        levels = pairwise(accumulate((prod(shape) for shape in flow.config.latent_shapes), initial=0))
        ordered = [start + diagonal[start:end].argsort(descending=True, stable=True) for start, end in levels]
        directions = torch.cat(ordered[::-1])[:keep].contiguous()
        return cls._fitted(flow, images, directions, diagonal[directions])

    @staticmethod
    def _read(directions: Tensor, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(latents[:, directions.numpy()])

    @staticmethod
    def _write(directions: Tensor, numbers: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
        latents = rest.copy()
        latents[:, directions.numpy()] = numbers
        return latents

    @staticmethod
    def _check(directions: Tensor, keep: int, dimension: int) -> None:
        fits = directions.shape == (keep,) and directions.dtype == torch.int64 and len(set(directions.tolist())) == keep
        if not fits or not 0 <= int(directions.min()) <= int(directions.max()) < dimension:
            raise ValueError(f"directions must be {keep} different columns of a latent of {dimension}, got others")


@KEPT_CODES.register("gram")
class GramCode(LatentCode):
    """The latent along the leading eigenvectors of the decoder's averaged Gram matrix E[J^T J]; see `decoder_gram`.

    `directions` is `(d, k)` float64, with orthonormal columns.
    """

    name: ClassVar[str] = "gram"

    @classmethod
    def fit(
        cls,
        flow: Glow,
        images: NDArray[Any],
        keep: int = 16,
        seed: int = 0,
        *,
        samples: int = 40,
        iterations: int = 2,
        of: Callable[[Tensor], Tensor] | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> GramCode:
        """Find the directions, and standardise what lies along them, on public integer images `(n, c, h, w)`.

        Args:
            samples: public images at which the decoder is differentiated, at most.
            seed, iterations, of, on_step: see `decoder_gram`.

        Raises:
            ValueError: for fewer than 20 images, images that are not the flow's, or a `keep` out of range.
        """
        flow, latents = _prepared(flow, images, keep, samples, seed)
        values, vectors = decoder_gram(flow, latents, keep, iterations=iterations, of=of, seed=seed, on_step=on_step)
        return cls._fitted(flow, images, vectors, values)

    @staticmethod
    def _read(directions: Tensor, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        return along(directions, latents)

    @staticmethod
    def _write(directions: Tensor, numbers: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
        return placed_along(directions, numbers, rest)

    @staticmethod
    def _check(directions: Tensor, keep: int, dimension: int) -> None:
        if directions.shape != (dimension, keep):
            raise ValueError(f"directions must be ({dimension}, {keep}), got {tuple(directions.shape)}")
        products = directions.double().T @ directions.double()
        if not torch.allclose(products, torch.eye(keep, dtype=torch.float64), atol=1e-6):
            raise ValueError("directions must be orthonormal columns, got others")


def _prepared(flow: Glow, images: NDArray[Any], keep: int, samples: int, seed: int) -> tuple[Glow, Tensor]:
    """A frozen copy of the flow, and the latents of some public images."""
    if len(images) < 20:
        raise ValueError(f"public images must be 20 or more to fit a code, got {len(images)}")
    if not 1 <= keep <= flow.config.dimension:
        raise ValueError(f"keep must be between 1 and {flow.config.dimension}, got {keep}")
    if samples < 1:
        raise ValueError(f"samples must be 1 or more, got {samples}")
    frozen = copy.deepcopy(flow).eval().requires_grad_(False)
    chosen = np.random.default_rng(seed).permutation(len(images))[:samples]
    return frozen, frozen.encode(images[np.sort(chosen)]).flat()


def _numbers(
    flow: Glow, images: NDArray[Any], read: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """What `read` takes of the images' latents, which are never all in memory."""
    tensor = as_tensor(images, flow.config.shape, flow.config.bits)
    return np.concatenate([read(flow.encode(chunk).numpy()) for chunk in torch.split(tensor, _CHUNK)])
