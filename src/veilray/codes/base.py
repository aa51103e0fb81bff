"""The contract of a kept code: what a release keeps of a picture, as a public function of it to k numbers.

The function is fitted on public images and fixed before any record is released. It leaves with the release, so that
whoever trains on the released codes can compute the code of a picture of their own.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from veilray.flows.durable import read_json, write_bytes, write_json
from veilray.registry import Registry

__all__ = ["CODE_FILE", "KEPT_CODES", "KeptCode", "card_of_code", "load_code", "rebuilt", "save_code"]

CODE_FILE = "code.json"
_FORMAT, _VERSION = "veilray-kept-code", 1
_LARGEST_JSON, _LARGEST_WEIGHTS = 2**20, 2**31
_DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool)

_Network = TypeVar("_Network", bound=nn.Module)


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
    """Write `code.json` and its weights (safetensors) into `folder`; return the SHA-256 of `code.json`.

    The JSON names the hash of the weights, so its own hash stands for the whole code.

    Args:
        card: what else a reader of the model should know, such as what it was fitted on. JSON values only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = save_tensors({name: tensor.contiguous() for name, tensor in code.tensors().items()})
    digest = hashlib.sha256(content).hexdigest()
    weights = f"code-{digest[:16]}.safetensors"
    write_bytes(folder / weights, content)
    told = {"format": _FORMAT, "version": _VERSION, "kind": code.name, "dimension": code.dimension}
    beside = {} if card is None else {"card": dict(card)}
    write_json(
        folder / CODE_FILE, {**told, "config": code.config(), "weights": weights, "weights_sha256": digest, **beside}
    )
    return hashlib.sha256((folder / CODE_FILE).read_bytes()).hexdigest()


def card_of_code(folder: Path) -> dict[str, Any]:
    """The `card` that `save_code` was given; empty where it was given none."""
    told = read_json(folder / CODE_FILE, "the kept code").get("card", {})
    return told if isinstance(told, dict) else {}


def load_code(folder: Path) -> KeptCode:
    """Read a code that `save_code` wrote.

    Raises:
        ValueError: when a file is missing, truncated, foreign, altered (hash mismatch), too large or not finite.
    """
    path = folder / CODE_FILE
    _refuse_larger(path, _LARGEST_JSON)
    told = read_json(path, "the kept code")
    if told.get("format") != _FORMAT or told.get("version") != _VERSION:
        raise ValueError(f"{path} must be a {_FORMAT} of version {_VERSION}, got another file")
    weights = folder / str(told.get("weights"))
    if weights.parent != folder or not weights.is_file():
        raise ValueError(f"the kept code's weights must be in {folder}, got no {told.get('weights')!r}")
    _refuse_larger(weights, _LARGEST_WEIGHTS)
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != told.get("weights_sha256"):
        raise ValueError(f"{weights} must have the SHA-256 its code.json names, got another: copy it again")
    try:
        tensors = load_tensors(content)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise ValueError(f"the kept code must be finite, got {weights} with values that are not")
        if strange := next((name for name, tensor in tensors.items() if tensor.dtype not in _DTYPES), None):
            raise ValueError(f"{strange} must be float32, float64, int64 or bool, got {tensors[strange].dtype}")
        code = KEPT_CODES[told["kind"]].restored(told["config"], tensors)
    except (safetensors.SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{weights} must hold the tensors its code.json tells of, got: {error}") from None
    if code.dimension != told.get("dimension"):
        raise ValueError(f"{path} must tell the dimension {code.dimension}, got {told.get('dimension')}")
    if not isinstance(code.bits, int) or not 1 <= code.bits <= 16:
        raise ValueError(f"bits of {path} must be a whole number from 1 to 16, got {str(code.bits)[:20]!r}")
    return code


def rebuilt(build: Callable[[], _Network], tensors: dict[str, Tensor], prefix: str) -> _Network:
    """The network of `build` with the weights among `tensors` whose names begin with `prefix`.

    It is built without memory first: a file from a stranger must not make this machine build more than it holds.

    Raises:
        ValueError: where names or shapes are not the network's.
    """
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
    for name in sorted(own.keys() | wanted.keys()):
        if name not in own or own[name].shape != wanted.get(name):
            raise ValueError(f"weights must be those of the network that its sizes tell of, got {prefix}{name} others")
    network = build()
    network.load_state_dict(own)
    return network


def _refuse_larger(path: Path, most: int) -> None:
    if path.is_file() and path.stat().st_size > most:
        raise ValueError(f"{path} must be at most {most:,} bytes, got {path.stat().st_size:,}")
