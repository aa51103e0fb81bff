"""What a CADP study reads: images, a fitted model, and what was chosen on the public images.

PREPARED/NAME/
    sets.npz        private_, test_: images, labels (0 .. C-1), patients (text); public_images, public_labels (text,
                    empty where not known); label_names (C)
    model/          a MODEL of `veilray fit cadp`
    shares.json     {epsilon: {share, scores}}: the label's share of epsilon; where the public half is labelled
    code/, keep.json    a nested content code and its k at each epsilon; where labels are scarce or classes missing
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.codes import ContentCode, load_code
from veilray.methods import CADP, load_method

__all__ = ["SHARES", "CadpSet"]

SHARES = ("1/4", "1/2", "3/4")
"""Of epsilon, for the label; one of them is chosen on public images."""


@dataclass(frozen=True)
class CadpSet:
    """One data set in one setting. Raises ValueError by every property whose file is missing."""

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(f"data set must be a prepared folder, got {self.folder}: run studies/prepare_cadp.py")

    @cached_property
    def sets(self) -> dict[str, NDArray[Any]]:
        """The arrays of `sets.npz`."""
        with np.load(self._file("sets.npz"), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes, in the order of the numbers."""
        return tuple(str(name) for name in self.sets["label_names"])

    @property
    def public_labels(self) -> NDArray[np.int64]:
        """`(n,)`: the class of each public image; -1 where it is not known or is no class of the private images."""
        names = self.label_names
        return np.array(
            [names.index(text) if text in names else -1 for text in map(str, self.sets["public_labels"])],
            dtype=np.int64,
        )

    @cached_property
    def model(self) -> CADP:
        """The fitted model."""
        found = load_method(self._file("model"))
        if not isinstance(found, CADP):
            raise ValueError(f"model must be of method cadp, got {found.name}")
        return found

    def share(self, epsilon: str) -> Fraction:
        """The label's share of epsilon, as the public images chose it."""
        return Fraction(json.loads(self._file("shares.json").read_text())[epsilon]["share"])

    @property
    def has_code(self) -> bool:
        """Whether a content code was prepared."""
        return (self.folder / "keep.json").exists()

    def code(self, epsilon: str) -> ContentCode:
        """The content code, of as many numbers as the public images chose for this epsilon."""
        found = load_code(self._file("code"))
        if not isinstance(found, ContentCode):
            raise ValueError(f"code must be a content code, got {found.name}")
        return found.first(int(json.loads(self._file("keep.json").read_text())[epsilon]))

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise ValueError(f"{name} must be prepared, got none in {self.folder}: run studies/prepare_cadp.py")
        return path
