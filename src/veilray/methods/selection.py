"""Selection: release one picture of a public list, chosen near the private one.

The list is drawn from the decoder's prior when the model is fitted, without a look at any private record: codes from
the law of the public images' codes, pictures from the decoder. A release picks exactly k winners, the list's nearest
to the image in the public code, and releases one of them with the probability that keeps epsilon, else one of
the rest (subset selection: Ye and Barg 2018; the proof is in `privacy/mechanisms/selection.py`). So every released
picture is a sample of the generator. Samples that come as close to a training image as a copy would are left out.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from veilray.codes import KeptCode
from veilray.methods.base import METHODS
from veilray.methods.directional import KeptCodeMethod
from veilray.privacy import Claim, Entropy, Mechanism, SeededEntropy
from veilray.privacy.mechanisms.selection import Selection
from veilray.releases.model import ModelCard

__all__ = ["SelectionRelease", "copies"]

_LIST = "candidates.npy"
_COUNT = 2048


@METHODS.register("selection")
class SelectionRelease(KeptCodeMethod):
    """Choose among public pictures of the model's own making."""

    name: ClassVar[str] = "selection"
    default_mechanism: ClassVar[str] = "selection"

    _candidates: NDArray[Any]

    def _prepare(self, training: NDArray[Any], validation: NDArray[Any]) -> None:
        entropy = SeededEntropy(f"public candidates of {self.card.weights_sha256}")
        codes = self.prior(_COUNT, entropy)
        drawn = _different(self.renderer(codes / self._scale, self.most_trusted, entropy), self.code)
        copied = copies(drawn, training, validation)
        self._candidates = drawn[~copied]
        if len(self._candidates) < 2:
            raise ValueError(
                f"candidates must be 2 or more that are no copies of training images, got {len(self._candidates)}: "
                "train longer or on more images"
            )
        figures = {**self.card.figures, "candidates": float((~copied).sum()), "copies_left_out": float(copied.sum())}
        configuration = {**self.card.configuration, "candidates_sha256": _digest(self._candidates)}
        self.card = ModelCard(**{**dict(self.card), "figures": figures, "configuration": configuration})

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / _LIST, self._candidates, allow_pickle=False)
        super().save(folder)

    @classmethod
    def load(cls, folder: Path) -> SelectionRelease:
        method = super().load(folder)
        assert isinstance(method, cls)  # load builds its own class
        method._candidates = _read_list(folder / _LIST, method)
        return method

    def calibrated(self, claim: Claim, mechanism: str | None = None, **options: Any) -> Mechanism:
        """Selection among the model's stored pictures; their codes are the list the mechanism chooses from."""
        given = {name: value for name, value in options.items() if value is not None}
        if (mechanism or self.default_mechanism) != self.default_mechanism:
            raise ValueError(f"mechanism must be selection for a model of `fit selection`, got {mechanism!r}")
        count = given.pop("candidates", len(self._candidates))
        if not 2 <= count <= len(self._candidates):
            raise ValueError(f"candidates must be between 2 and the {len(self._candidates)} stored, got {count}")
        features = self.code.encode(self._candidates[:count])
        return Selection.calibrate(claim, self.dimension, candidates=features, **given)

    def render(self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy) -> NDArray[Any]:
        """The stored pictures themselves."""
        if not isinstance(mechanism, Selection):
            raise ValueError(f"mechanism must be selection for a model of `fit selection`, got {mechanism.name}")
        return np.asarray(self._candidates[mechanism.index_of(drawn)])


def copies(drawn: NDArray[Any], training: NDArray[Any], validation: NDArray[Any]) -> NDArray[np.bool_]:
    """Which drawn pictures lie as near to a training image as no held-out image of another patient does.

    Distances are Euclidean, in grey levels; `(n, c, h, w)` each. A generator that repeats what it saw shows here. A
    held-out image that is itself in the training set, as sets with repeats have them, says nothing and is passed over.
    """
    if not len(drawn):
        return np.zeros(0, dtype=np.bool_)
    index = NearestNeighbors(n_neighbors=1).fit(_flat(training))
    apart = index.kneighbors(_flat(validation))[0][:, 0]
    natural = float(apart[apart > 0].min()) if apart.any() else 0.0
    near = index.kneighbors(_flat(drawn))[0][:, 0]
    return np.asarray((near < natural) | (near == 0))


def _different(drawn: NDArray[Any], code: KeptCode) -> NDArray[Any]:
    """The pictures whose codes differ from all before them: a list with repeats cannot be chosen from."""
    _, pictures = np.unique(drawn.reshape(len(drawn), -1), axis=0, return_index=True)
    kept = drawn[np.sort(pictures)]
    _, codes = np.unique(code.encode(kept), axis=0, return_index=True)
    return np.asarray(kept[np.sort(codes)])


def _read_list(path: Path, method: KeptCodeMethod) -> NDArray[Any]:
    """The stored candidates. Raises ValueError for a missing, cut or altered file."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)  # maps: nothing is allocated for an absurd header
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise ValueError(f"{path} must be the list of candidates, got: {error}") from None
    if not isinstance(found, np.ndarray) or found.ndim != 4 or found.shape[1:] != method.geometry.shape:
        raise ValueError(f"{path} must be pictures {method.geometry.shape}, got something else")
    if found.dtype != method.geometry.dtype or _digest(found) != method.card.configuration.get("candidates_sha256"):
        raise ValueError(f"{path} must be the list the model card tells of, got another")
    return np.array(found, order="C")


def _digest(candidates: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(candidates).tobytes()).hexdigest()


def _flat(images: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(images, dtype=np.float32).reshape(len(images), -1)
