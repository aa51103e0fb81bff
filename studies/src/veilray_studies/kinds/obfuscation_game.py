"""One data set of the obfuscation study under a setting: the owner's pictures, and the attacker's view of them.

PREPARED/NAME/
    sets.npz    own, train and test images, labels (-1: none) and patients; other_images; label_names
    models/     the fitted obfuscations of `MODELS`

Keys are made from the seed: an experiment. A real key comes from `veilray keys`, from the operating system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.attacks.intensity import KnownPairs, ObfuscatedSet, View
from veilray.evaluation.attacks.intensity import Setting as Knowledge
from veilray.methods.obfuscation import Key, MapFamily, Obfuscation
from veilray.methods.obfuscation.intensity_map import Scope
from veilray.methods.obfuscation.method import Order
from veilray.privacy import SeededEntropy
from veilray_studies.kinds.obfuscation_settings import RAW, SETTINGS

__all__ = ["Game", "Images", "PreparedSet", "study_key"]

Images = NDArray[np.uint8]

_OF_ONE_KEY = 8
"""Pictures that an attacker obfuscates under one key of its own before it takes another."""


@dataclass(frozen=True)
class PreparedSet:
    """One prepared data set. Raises ValueError by every property whose file is missing."""

    folder: Path

    @cached_property
    def sets(self) -> dict[str, NDArray[Any]]:
        """The arrays of `sets.npz`."""
        with np.load(self._file("sets.npz"), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}

    @property
    def classes(self) -> int:
        """How many labels there are; 0 where the pictures have none."""
        return len(self.sets["label_names"])

    def obfuscation(self, setting: str) -> Obfuscation:
        """The fitted model that a setting is made of, under its maps."""
        asked = SETTINGS[setting]
        model = Obfuscation.load(self._file(f"models/{asked.model}"))
        maps = MapFamily(asked.levels, asked.smoothness, cast(Scope, asked.scope), asked.batch)
        recipe = replace(model.recipe, order=cast(Order, asked.order), maps=maps)
        return Obfuscation(recipe, model.autoencoder, model.card)

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise ValueError(f"{name} must be prepared, got none in {self.folder}: run studies/prepare_obfuscation.py")
        return path


@dataclass(frozen=True)
class Game:
    """A data set under a setting, with the owner's key of one seed."""

    prepared: PreparedSet
    setting: str
    seed: int

    @cached_property
    def model(self) -> Obfuscation:
        """What the owner and everybody else have; the key is the owner's alone."""
        return self.prepared.obfuscation(self.setting)

    @cached_property
    def key(self) -> Key:
        """The owner's."""
        return study_key(f"owner {self.prepared.folder.name} {self.setting} {self.seed}")

    def obfuscated(self, part: Literal["train", "test"], most: int | None = None) -> Images:
        """Pictures of the owner as the cloud gets them; as they are where the setting is raw."""
        images: Images = self.prepared.sets[f"{part}_images"][:most]
        return images if self.setting == RAW else self._owners(images, part)

    def target(self, knowledge: Knowledge, targets: int, pairs: int) -> ObfuscatedSet:
        """The game of an attack: the first test pictures, and `pairs` known pairs (0: none)."""
        sets = self.prepared.sets
        originals: Images = sets["test_images"][:targets]
        has_labels = self.prepared.classes > 0
        view = View(
            own=sets["own_images"],
            obfuscated=self._owners(originals, "test"),
            setting=knowledge,
            maps=self._maps(len(originals)),
            pairs=self._pairs(knowledge, pairs) if pairs else None,
            obfuscate=self._machine(),
            own_attributes=sets["own_labels"] if has_labels else None,
        )
        return ObfuscatedSet(
            view,
            originals,
            patients=sets["test_patients"][:targets],
            attributes=sets["test_labels"][:targets] if has_labels else None,
        )

    def _maps(self, count: int) -> NDArray[np.int64] | None:
        """Which targets share a map; None: all do."""
        setting = SETTINGS[self.setting]
        if not setting.keyed or setting.scope == "key":
            return None
        return np.arange(count) // (setting.batch if setting.scope == "batch" else 1)

    def _pairs(self, knowledge: Knowledge, count: int) -> KnownPairs:
        """Under the owner's key of the owner's training pictures, else under keys of the attacker's own."""
        sets = self.prepared.sets
        if knowledge == "same-key":
            originals: Images = sets["train_images"][:count]
            labels = sets["train_labels"][:count] if self.prepared.classes else None
            return KnownPairs(originals, self._owners(originals, "train"), labels)
        originals = sets["own_images" if knowledge == "informed" else "other_images"][:count]
        parts = []
        for start in range(0, len(originals), _OF_ONE_KEY):
            name = f"attacker {knowledge} {start} {self.seed}"
            some = originals[start : start + _OF_ONE_KEY]
            parts.append(self.model.obfuscate(some, study_key(name), entropy=SeededEntropy(name)))
        return KnownPairs(originals, np.concatenate(parts))

    def _owners(self, images: Images, what: str) -> Images:
        return self.model.obfuscate(images, self.key, entropy=self._entropy(what))

    def _machine(self) -> Callable[[Images], Images]:
        """The owner's program with the key in it, for chosen plaintext."""
        return lambda asked: self._owners(asked, "asked")

    def _entropy(self, what: str) -> SeededEntropy:
        return SeededEntropy(f"{what} {self.prepared.folder.name} {self.setting} {self.seed}")


def study_key(name: str) -> Key:
    """The key of an experiment; anybody can make it again."""
    return Key(hashlib.sha256(f"veilray study {name}".encode()).digest(), "2000-01-01")
