"""What a utility study reads: pictures, kept codes and models, prepared once and shared by all its cells.

PREPARED/DATASET/
    sets.npz            private_, test_: images, labels, patients (text); public_images
    codes/KIND/         a nested kept code, as `veilray.codes.save_code` writes it
    codes/KIND.npz      private, test: its code rows
    keep.json           {kind: {mechanism: {epsilon: k}}}, chosen on the public images
    model/              a MODEL of `veilray fit directional`, for pictures
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.codes import ContentCode, LatentCode, load_code
from veilray.codes.choice import decayed
from veilray.privacy import MECHANISMS, Claim, Mechanism, SeededEntropy
from veilray_studies.kinds.utility_settings import DECAYED, PREPARE

__all__ = ["Kept", "Prepared", "mechanism_for"]

_CANDIDATES = 1024
_DELTA = {"gaussian": "1e-6"}
"""Gaussian noise keeps no pure claim; its delta stands in the tables."""


@dataclass(frozen=True)
class Prepared:
    """One data set of a study. Raises ValueError by every property whose file is missing."""

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(f"data set must be a prepared folder, got {self.folder}: {PREPARE}")

    @cached_property
    def sets(self) -> dict[str, NDArray[Any]]:
        """Images `(n, c, h, w)`, labels `(n,)` int64 and patients `(n,)` text of the private and the test part."""
        with np.load(self._file("sets.npz"), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}

    def nested(self, kind: str) -> ContentCode | LatentCode:
        """The nested kept code; `invariant-decayed` is that of `invariant`, with its later numbers weighed less."""
        found = load_code(self._file(f"codes/{_base(kind)}"))
        if not isinstance(found, ContentCode | LatentCode):
            raise ValueError(f"code must be a content code or one in the latent, got {found.name}")
        return found

    def rows(self, kind: str) -> dict[str, NDArray[np.float64]]:
        """Nested code rows of the public, the private and the test part."""
        with np.load(self._file(f"codes/{_base(kind)}.npz"), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}

    def kept(self, kind: str, mechanism: str, epsilon: str, forced: int | None = None) -> Kept:
        """What this mechanism keeps at this epsilon, as the public images chose it; or the first `forced` numbers.

        Raises:
            ValueError: where nothing was chosen for them, or fewer numbers than `forced` are there.
        """
        keep, decay = self._chosen(kind, mechanism, epsilon) if forced is None else (forced, None)
        nested, weights = self.nested(kind), decayed(keep, decay)
        code = nested.first(keep, decay) if isinstance(nested, ContentCode) else nested.first(keep)
        rows = {part: found[:, :keep] * weights for part, found in self.rows(kind).items()}
        return Kept(code, rows["private"], rows["test"])

    def _chosen(self, kind: str, mechanism: str, epsilon: str) -> tuple[int, float | None]:
        found: Any = json.loads(self._file("keep.json").read_text())
        for name in (kind, mechanism, epsilon):
            if name not in found:
                raise ValueError(f"keep.json of {self.folder} must have a k for {kind} {mechanism} {epsilon}, got none")
            found = found[name]
        keep, decay = found
        return int(keep), None if decay is None else float(decay)

    @property
    def model(self) -> Path:
        """The MODEL for pictures."""
        return self._file("model")

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise ValueError(f"{name} must be prepared, got none in {self.folder}: {PREPARE}")
        return path


@dataclass(frozen=True)
class Kept:
    """The code of one cell, and its rows `(n, k)` of the private and the test part."""

    code: ContentCode | LatentCode
    private: NDArray[np.float64]
    test: NDArray[np.float64]


def _base(kind: str) -> str:
    return kind.removesuffix(DECAYED)


def mechanism_for(name: str, epsilon: str, code: ContentCode | LatentCode) -> Mechanism:
    """The mechanism of a study's cell on a code of k numbers, at its public defaults.

    Raises:
        ValueError: where the mechanism cannot keep the claim for so few numbers.
    """
    kind = MECHANISMS[name]
    options: dict[str, Any] = {}
    if kind.wants_candidates:
        options["candidates"] = code.reference.sample(_CANDIDATES, SeededEntropy("public candidates of a study"))
    return kind.calibrate(Claim.of(epsilon, _DELTA.get(name, 0)), code.dimension, **options)
