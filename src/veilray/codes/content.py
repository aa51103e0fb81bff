"""The content code: features of a public network, read out by a linear map, whitened on public images.

The k numbers are nested: the first j of them are the code of j numbers. So one fit serves every k.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from veilray.codes.base import KEPT_CODES, KeptCode
from veilray.codes.choice import decayed
from veilray.codes.reference import Reference
from veilray.flows.quantisation import as_tensor
from veilray.networks.artefact import rebuilt
from veilray.registry import Registry

__all__ = ["CONTENTS", "Content", "ContentCode", "principal_components"]

_CHUNK = 256


class Content(nn.Module, ABC):
    """A public network: pictures `(n, c, side, side)` in [0, 1] to features `(n, f)`, row by row.

    One kind is one file: a class, how it is fitted on public pictures, and a registry line.
    """

    name: ClassVar[str]
    side: int
    """Pictures are average-pooled to this side before the network sees them."""

    @classmethod
    @abstractmethod
    def fit(cls, pictures: Tensor, keep: int, **options: Any) -> tuple[Content, Tensor]:
        """Fit on public pictures `(n, c, side, side)`; return the network in evaluation mode and the basis
        `(f, keep)` of a linear read-out, best numbers first."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """The arguments that build this network again."""


CONTENTS: Registry[type[Content]] = Registry("content")


@KEPT_CODES.register("content")
class ContentCode(KeptCode):
    """`(features(x) - mean) @ basis`, with the law of the public images' codes.

    Args:
        content: the public network.
        mean: `(f,)` float64.
        basis: `(f, k)` float64; the codes of the public images have mean 0 and variance 1.
        renderer: `(k, c * h * w)` float32 in grey levels: the picture's linear regression on its code, over public
            images.
        reference: the law of the public images' codes.
        shape, bits: of the pictures.
        scale: `(k,)` float64: the deviation of each number over the public images, where it is not 1; see `first`.
    """

    name = "content"

    def __init__(
        self,
        content: Content,
        mean: Tensor,
        basis: Tensor,
        renderer: Tensor,
        reference: Reference,
        shape: tuple[int, int, int],
        bits: int,
        scale: Tensor | None = None,
    ) -> None:
        if basis.ndim != 2:
            raise ValueError(f"basis must be (f, k), got {tuple(basis.shape)}")
        features, keep = basis.shape
        if mean.shape != (features,) or reference.dimension != keep or renderer.shape != (keep, int(np.prod(shape))):
            raise ValueError(f"mean, renderer and reference must fit a basis of {features} x {keep}, got other shapes")
        self.content = content.eval().requires_grad_(False)
        self.mean, self.basis, self.renderer, self.reference = mean, basis, renderer, reference
        self._shape, self._bits = shape, bits
        self.scale = torch.ones(self.dimension, dtype=torch.float64) if scale is None else scale
        if self.scale.shape != (self.dimension,) or not bool((self.scale > 0).all()):
            raise ValueError(f"scale must be {self.dimension} numbers above 0, got {self.scale.tolist()}")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._shape

    @property
    def bits(self) -> int:
        return self._bits

    @property
    def dimension(self) -> int:
        return int(self.basis.shape[1])

    @torch.no_grad()
    def features(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """All features `(n, f)` of integer images, before the read-out."""
        tensor = as_tensor(images, self.shape, self.bits)
        parts = [self.content(pooled(chunk, self.bits, self.content.side)) for chunk in torch.split(tensor, _CHUNK)]
        rows = torch.cat(parts) if len(tensor) else torch.zeros(0, len(self.mean))
        return np.asarray(rows.double().numpy())

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = (self.features(images) - self.mean.numpy()) @ self.basis.numpy()
        return rows

    def first(self, keep: int, decay: float | None = None) -> ContentCode:
        """The code of the first `keep` numbers. Raises ValueError when there are fewer.

        With a `decay` the i-th number (from 0) is scaled by 1 / sqrt(1 + i / decay). A direction is released, so what
        is scaled down takes a smaller share of it: the first numbers come through clearly, and later ones still do a
        little where they would have been dropped.
        """
        if not 1 <= keep <= self.dimension:
            raise ValueError(f"keep must be between 1 and {self.dimension}, got {keep}")
        weights = torch.from_numpy(decayed(keep, decay))
        return ContentCode(
            self.content,
            self.mean,
            self.basis[:, :keep] * weights,
            self.renderer[:keep] / weights[:, None].float(),
            self.reference.first(keep).scaled(weights.numpy()),
            self.shape,
            self.bits,
            self.scale[:keep] * weights,
        )

    def config(self) -> dict[str, Any]:
        return {
            "content": self.content.name,
            "sizes": self.content.sizes(),
            "shape": list(self.shape),
            "bits": self.bits,
        }

    def tensors(self) -> dict[str, Tensor]:
        own = {"mean": self.mean, "basis": self.basis, "renderer": self.renderer, "scale": self.scale}
        own |= self.reference.tensors()
        return {**own, **{f"content.{name}": tensor for name, tensor in self.content.state_dict().items()}}

    @classmethod
    def restored(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> ContentCode:
        content = rebuilt(lambda: CONTENTS[config["content"]](**config["sizes"]), tensors, "content.")
        channels, height, width = config["shape"]
        return cls(
            content,
            tensors["mean"],
            tensors["basis"],
            tensors["renderer"],
            Reference.restored(tensors),
            (channels, height, width),
            config["bits"],
            tensors["scale"],
        )

    @classmethod
    def fit(cls, images: NDArray[Any], bits: int, kind: str, keep: int = 32, **options: Any) -> ContentCode:
        """Fit the network, read-out, renderer and law on public integer images `(n, c, h, w)`.

        Args:
            kind: a registered content: `pixels`, `vae` or `invariant`.
            keep: numbers to keep, at most.
            options: the kind's own, such as `epochs` and `seed`.

        Raises:
            ValueError: for an unknown kind, fewer than 20 images, or more numbers than the features hold.
        """
        if len(images) < 20:
            raise ValueError(f"public images must be 20 or more to fit a code, got {len(images)}")
        shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
        kind_of = CONTENTS[kind]
        tensor = as_tensor(images, shape, bits)
        side = _side_of(shape[1])
        pictures = torch.cat([pooled(chunk, bits, side) for chunk in torch.split(tensor, _CHUNK)])
        content, basis = kind_of.fit(pictures, keep, **options)
        with torch.no_grad():
            features = torch.cat([content(chunk) for chunk in torch.split(pictures, _CHUNK)]).double()
        mean = features.mean(0)
        basis = basis.double() / ((features - mean) @ basis.double()).std(0)
        codes = (features - mean) @ basis
        flat = tensor.reshape(len(tensor), -1).double()
        renderer = torch.linalg.lstsq(codes, flat - flat.mean(0)).solution.float()
        return cls(content, mean, basis, renderer, Reference.fit(codes.numpy()), shape, bits)


def principal_components(features: Tensor, keep: int) -> Tensor:
    """The leading principal components `(f, keep)` of features `(n, f)`, by a singular value decomposition.

    Raises:
        ValueError: for more components than there are.
    """
    components: Tensor
    _, _, components = torch.linalg.svd(features - features.mean(0), full_matrices=False)
    if keep > len(components):
        raise ValueError(f"keep must be at most {len(components)} for so few pictures, got {keep}")
    return components[:keep].T.contiguous()


def pooled(images: Tensor, bits: int, side: int) -> Tensor:
    """Integer images as pictures in [0, 1], average-pooled to `side`."""
    pictures = images.float() / (2**bits - 1)
    return pictures if pictures.shape[-1] == side else F.adaptive_avg_pool2d(pictures, side)


def _side_of(size: int) -> int:
    """What the network sees: pictures above 40 pixels are halved until they are no larger."""
    while size > 40:
        size = (size + 1) // 2
    return size
