"""A RELEASE in the hands of whoever received it: pictures, codes, labels, claim, and a torch data set in one.

Example, three lines for a stranger:

    import veilray
    release = veilray.open_release("release")
    loader = torch.utils.data.DataLoader(release, batch_size=32, shuffle=True)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from veilray.codes import KeptCode
from veilray.images import FORMATS, Collection, Geometry, Limits, Unreadable, fit
from veilray.privacy import Guarantee, Mechanism
from veilray.releases.model import ModelCard
from veilray.releases.reader import Received, receive

__all__ = ["OpenedRelease", "open_release"]

_BATCH = 256
_ONE_PICTURE = Limits(max_images=1)


class OpenedRelease(Dataset[dict[str, Any]]):
    """What a release holds, in the order of its manifest; item i is a dict of tensors for a learner.

    Attributes:
        folder: where it lies.
        guarantee: what is claimed.
        model: the card of the model that made it.
        labels: one a picture, or None where the label was withheld.
        classes: the levels of the label, sorted as the model card or the alphabet has them; empty without labels.
        conditions: every released condition by name, one value a picture.
        paths: of the pictures, relative to `folder`.
        codes: `(n, k)` float64, the rows that the mechanism drew; None without a kept code.
        kept_code: the public function of a picture to k numbers, or None.

    Raises:
        ValueError: for a model card or kept code of another geometry than the pictures have.
    """

    def __init__(self, received: Received) -> None:
        self.folder: Path = received.folder
        self.guarantee: Guarantee = received.guarantee
        self.model: ModelCard = received.model
        self.paths: list[str] = list(received.paths)
        self.conditions: dict[str, list[str]] = {name: list(values) for name, values in received.conditions.items()}
        self.labels: list[str] | None = self.conditions.get("label")
        self.classes: list[str] = _classes(self.labels, received.model)
        self._class_of = {name: index for index, name in enumerate(self.classes)}
        self._kept = received.kept
        self.codes: NDArray[np.float64] | None = received.kept.rows if received.kept else None
        self.kept_code: KeptCode | None = received.kept.code if received.kept else None
        self.geometry = _geometry(received.model)
        code = self.kept_code
        if code is not None and (code.shape != self.geometry.shape or (code.bits > 8) != (self.geometry.bits > 8)):
            raise ValueError(
                f"kept code must be of pictures {self.geometry.shape} of {self.geometry.bits} bits, got {code.shape} "
                f"of {code.bits}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`image`, float32 `(c, h, w)` in [0, 1]; `code`, float32 `(k,)`, the raw row, with a kept code; `label`, the
        place in `classes`, with labels. Raises IndexError."""
        position = range(len(self))[index]
        scale = np.float32(self.geometry.levels - 1)
        item: dict[str, Any] = {"image": torch.from_numpy(self.picture(position).astype(np.float32) / scale)}
        if self.codes is not None:
            item["code"] = torch.from_numpy(self.codes[position].astype(np.float32))
        if self.labels is not None:
            item["label"] = self._class_of[self.labels[position]]
        return item

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        code = "no kept code" if self.codes is None else f"{self.codes.shape[1]} code numbers"
        return f"OpenedRelease({len(self):,} pictures {self.geometry.shape}, {code}, {len(self.classes)} classes)"

    def picture(self, index: int) -> NDArray[Any]:
        """One picture `(c, h, w)`, uint8 or uint16, in the model's geometry whatever the release kept of its source.

        Raises:
            ValueError: where the file cannot be read.
        """
        path = self.folder / self.paths[index]
        try:
            with FORMATS["raster"].open(path, _ONE_PICTURE) as file:
                return fit(file.read(0), self.geometry)
        except Unreadable as error:
            raise ValueError(f"{path} must be a picture, got one that {error}") from None

    @cached_property
    def images(self) -> NDArray[Any]:
        """All pictures `(n, c, h, w)`, uint8 or uint16, read once."""
        if not self.paths:
            return np.empty((0, *self.geometry.shape), self.geometry.dtype)
        return np.stack([self.picture(index) for index in range(len(self))])

    @cached_property
    def mechanism(self) -> Mechanism | None:
        """The mechanism that drew `codes`, calibrated anew from its recipe: for `log_likelihood` and `to_prior`.

        Raises:
            ValueError: where the recipe gives another mechanism than the claim tells of.
        """
        if self._kept is None:
            return None
        rebuilt: Mechanism = self._kept.recipe.calibrate(self._kept.candidates)
        claim, told = rebuilt.guarantee(self._kept.recipe.dimension), self.guarantee
        if (claim.parameters, claim.bound, claim.image_epsilon, claim.image_delta) != (
            told.parameters,
            told.bound,
            told.image_epsilon,
            told.image_delta,
        ):
            raise ValueError(
                f"the mechanism {claim.mechanism} must have the parameters that the release tells of, got others: it "
                "was altered, or made by a version of veilray that calibrates otherwise"
            )
        return rebuilt

    def features(self) -> NDArray[np.float64]:
        """`codes` brought to the scale of clean codes, `(n, k)` float64: what a learner trains on.

        Raises:
            ValueError: for a release without a kept code.
        """
        self._code()
        assert self.codes is not None  # both come together
        assert self.mechanism is not None
        return self.mechanism.to_prior(self.codes)

    def encode(self, images: NDArray[Any] | Sequence[NDArray[Any]] | Collection) -> NDArray[np.float64]:
        """The code `(n, k)` of pictures of your own, without noise: what a learner of `features` is asked about.

        Args:
            images: integer pictures of any size, brought to the model's geometry by its public rule: a stack
                `(n, h, w)` or `(n, c, h, w)`, a list of `(h, w)` or `(h, w, c)`, or a `veilray.Collection`.

        Raises:
            ValueError: for a release without a kept code, or pictures of another shape or type.
        """
        code = self._code()
        rows = [code.encode(batch) for batch in _batches(images, self.geometry)]
        return np.concatenate(rows) if rows else np.empty((0, code.dimension))

    def _code(self) -> KeptCode:
        if self.kept_code is None:
            raise ValueError(
                f"RELEASE must keep a code for this, got one of pictures alone (method {self.model.method}): train on "
                "`images`, or ask for a release by a method with a kept code"
            )
        return self.kept_code


def open_release(path: str | Path, *, verify: bool = True) -> OpenedRelease:
    """Open a RELEASE folder that somebody made with veilray; pictures are read when they are asked for.

    Args:
        verify: compare the SHA-256 of every file with release.json first; takes as long as reading them.

    Raises:
        ValueError: for a folder that is no release, a file that is missing or altered, or contents that do not fit
            together.
    """
    return OpenedRelease(receive(Path(path), verify))


def _classes(labels: list[str] | None, model: ModelCard) -> list[str]:
    """The model card's levels where they hold every label, so that two releases of a model number them alike."""
    if labels is None:
        return []
    seen, known = set(labels), model.levels_of.get("label", ())
    return list(known) if seen <= set(known) else sorted(seen)


def _geometry(model: ModelCard) -> Geometry:
    try:
        return Geometry(**model.geometry)
    except TypeError:
        raise ValueError(f"geometry must be size, channels and bits, got {', '.join(model.geometry)}") from None


def _batches(images: NDArray[Any] | Sequence[NDArray[Any]] | Collection, geometry: Geometry) -> Iterator[NDArray[Any]]:
    """Pictures in the model's geometry, some at a time."""
    if isinstance(images, Collection):
        for _, pixels in images.batches(geometry, _BATCH):
            yield pixels
        return
    if isinstance(images, np.ndarray) and images.ndim not in (3, 4):
        raise ValueError(f"images must be (n, h, w) or (n, c, h, w), got shape {images.shape}")
    stacked = isinstance(images, np.ndarray) and images.ndim == 4
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        yield np.stack([fit(np.moveaxis(image, 0, 2) if stacked else image, geometry) for image in some])
