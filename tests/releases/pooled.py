"""A tiny real kept code and its method: the means of the four quarters of a picture, decoded by repetition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.codes import KEPT_CODES, KeptCode, load_code, save_code
from veilray.images import RULE, Collection, Geometry
from veilray.methods import METHODS
from veilray.privacy import Entropy, ModelTraining
from veilray.privacy.samplers.normal import normals
from veilray.releases import Method, ModelCard, read_card

SIZE = 8


class PooledCode(KeptCode):
    name = "pooled"
    shape = (1, SIZE, SIZE)
    bits = 8
    dimension = 4

    def __init__(self, mean: float, scale: float) -> None:
        self.mean, self.scale = mean, scale

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        if images.shape[1:] != self.shape or images.dtype != np.uint8:
            raise ValueError(f"images must be (n, 1, {SIZE}, {SIZE}) uint8, got {images.shape} {images.dtype}")
        quarters = images.reshape(-1, 2, SIZE // 2, 2, SIZE // 2).astype(np.float64).mean(axis=(2, 4))
        return (quarters.reshape(-1, 4) - self.mean) / self.scale

    def config(self) -> dict[str, Any]:
        return {}

    def tensors(self) -> dict[str, Tensor]:
        return {"law": torch.tensor([self.mean, self.scale], dtype=torch.float64)}

    @classmethod
    def restored(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> PooledCode:
        mean, scale = tensors["law"].tolist()
        return cls(mean, scale)


class PooledMethod(Method):
    name = "pooled"
    default_mechanism = "directional"

    def __init__(self, code: PooledCode, card: ModelCard) -> None:
        self.code, self.card = code, card

    @classmethod
    def made(cls) -> PooledMethod:
        card = ModelCard(
            name="pooled pixels",
            method=cls.name,
            geometry={"size": SIZE, "channels": 1, "bits": 8},
            geometry_rule=RULE,
            training=ModelTraining(data="public", statement="two numbers"),
            training_images=0,
            training_patients=None,
            levels_of={"label": ("NORMAL", "OTHER", "PNEUMONIA")},
            weights_sha256="0" * 64,
        )
        return cls(PooledCode(127.5, 20.0), card)

    @classmethod
    def fit(cls, collection: Collection, folder: Path, **options: Any) -> PooledMethod:
        method = cls.made()
        method.save(folder)
        return method

    @classmethod
    def load(cls, folder: Path) -> PooledMethod:
        code = load_code(folder)
        assert isinstance(code, PooledCode)
        return cls(code, read_card(folder))

    def save(self, folder: Path) -> None:
        save_code(self.code, folder)
        self.card.write(folder)

    @property
    def kept_code(self) -> KeptCode:
        return self.code

    @property
    def geometry(self) -> Geometry:
        return Geometry(SIZE)

    @property
    def dimension(self) -> int:
        return self.code.dimension

    def encode(self, images: NDArray[Any]) -> NDArray[np.float64]:
        return self.code.encode(images)

    def decode(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        quarters = np.clip(np.rint(rows * self.code.scale + self.code.mean), 0, 255).astype(np.uint8)
        return quarters.reshape(-1, 1, 2, 2).repeat(SIZE // 2, axis=2).repeat(SIZE // 2, axis=3)

    def prior(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        return normals(entropy.words((count, self.dimension), np.uint64))


def register() -> None:
    """Make both known in a process of its own."""
    KEPT_CODES.register("pooled")(PooledCode)
    METHODS.register("pooled")(PooledMethod)


def register_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make both known for one test: batteries over the registries never see them."""
    monkeypatch.setitem(KEPT_CODES._entries, "pooled", PooledCode)
    monkeypatch.setitem(METHODS._entries, "pooled", PooledMethod)
