"""The contract of a kept code: what a release keeps of a picture, as a public function of it to k numbers.

The function is fitted on public images and fixed before any record is released. It leaves with the release, so that
whoever trains on the released codes can compute the code of a picture of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from veilray.networks.artefact import Artefact, unpacked
from veilray.registry import Registry

__all__ = ["CODE_FILE", "KEPT_CODES", "KeptCode", "card_of_code", "load_code", "save_code"]

CODE_FILE = "code.json"
_ARTEFACT = Artefact(CODE_FILE, format="veilray-kept-code", what="the kept code", stem="code")


class KeptCode(ABC):
    """A public function of integer images `(n, c, h, w)` to code rows `(n, k)` float64, each row from its own image.

    On the public images it was fitted on, each of the k numbers has mean 0 and variance 1.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """`(c, h, w)` of the pictures."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits a pixel: uint8 pictures up to 8, uint16 above."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """k: numbers kept of a picture."""

    @abstractmethod
    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """The code rows `(n, k)` of integer images `(n, c, h, w)`. Raises ValueError for another shape or dtype."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Everything but the tensors, for JSON."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The tensors, by name."""

    @classmethod
    @abstractmethod
    def restored(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> KeptCode:
        """The code of `config` and `tensors`. Raises ValueError or KeyError where they do not fit."""


KEPT_CODES: Registry[type[KeptCode]] = Registry("kept code")


def save_code(code: KeptCode, folder: Path, card: Mapping[str, Any] | None = None) -> str:
    """Write `code.json` and its weights into `folder`; return the SHA-256 of `code.json`, which stands for the code.

    Args:
        card: what else a reader of the model should know, such as what it was fitted on. JSON values only.
    """
    fields = {"kind": code.name, "dimension": code.dimension, "config": code.config()}
    return _ARTEFACT.save(folder, code.tensors(), fields, card=card)


def card_of_code(folder: Path) -> dict[str, Any]:
    """The `card` that `save_code` was given; empty where it was given none."""
    told = _ARTEFACT.fields(folder).get("card", {})
    return told if isinstance(told, dict) else {}


def load_code(folder: Path) -> KeptCode:
    """Read a code that `save_code` wrote.

    Raises:
        ValueError: when a file is missing, truncated, foreign, altered (hash mismatch), too large or not finite.
    """
    path = folder / CODE_FILE
    told = _ARTEFACT.fields(folder)
    tensors = unpacked(_ARTEFACT.content(folder, told), folder)
    try:
        code = KEPT_CODES[told["kind"]].restored(told["config"], tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} must describe a kept code and its tensors, got: {error}") from None
    if code.dimension != told.get("dimension"):
        raise ValueError(f"{path} must tell the dimension {code.dimension}, got {told.get('dimension')}")
    if not isinstance(code.bits, int) or not 1 <= code.bits <= 16:
        raise ValueError(f"bits of {path} must be a whole number from 1 to 16, got {str(code.bits)[:20]!r}")
    return code
