"""Attacks on obfuscated pictures: what the attacker sees, the game, and what comes out of it.

Obfuscation carries no epsilon, so there is no line: an attack stands between two controls. The positive one is the same
attack on pictures that were not obfuscated at all; where it does not succeed, the attack has no power and says nothing.
The negative one is the null reconstructor, the mean image of the attacker's own set.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.attacks.base import Attack
from veilray.evaluation.attacks.intensity.channel import Channels, residual_bits
from veilray.evaluation.bootstrap import RESAMPLES, mean
from veilray.evaluation.result import AttackResult, Estimate
from veilray.evaluation.similarity.distortion import MEASURES, Distortion, distortion, null_reconstruction
from veilray.registry import Registry

__all__ = [
    "ATTACKS_ON_PICTURES",
    "SETTINGS",
    "AttackOnPictures",
    "Images",
    "KnownPairs",
    "ObfuscatedSet",
    "PictureAttack",
    "PictureResult",
    "Reconstruction",
    "Setting",
    "View",
]

Images = NDArray[np.uint8]
"""`(n, c, h, w)` uint8."""

Setting = Literal["informed", "uninformed", "same-key"]

SETTINGS: Mapping[Setting, str] = {
    "informed": "own pictures of the targets' kind; pairs, if any, made with keys of the attacker's own",
    "uninformed": "own pictures of another kind; pairs, if any, made with keys of the attacker's own",
    "same-key": "own pictures of the targets' kind; pairs made with the targets' own key",
}
"""What the attacker knows of the target's content (the two configurations of Popescu et al. 2022), and same-key."""


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """Originals beside what became of them, row by row; `attributes` `(p,)` of the originals, where known.

    Raises:
        ValueError: for shapes that do not fit.
    """

    originals: Images
    obfuscated: Images
    attributes: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        _check("originals", self.originals)
        if self.originals.shape != self.obfuscated.shape or self.obfuscated.dtype != np.uint8:
            raise ValueError(
                f"known pairs must be uint8 of one shape, got {self.originals.shape} and {self.obfuscated.shape}"
            )

    def __len__(self) -> int:
        return len(self.originals)

    def first(self, count: int) -> KnownPairs:
        """The first `count` pairs."""
        attributes = None if self.attributes is None else self.attributes[:count]
        return KnownPairs(self.originals[:count], self.obfuscated[:count], attributes)


@dataclass(frozen=True, eq=False)
class View:
    """What the attacker sees, and nothing else. The method is public; the key is not.

    Attributes:
        own: the attacker's own pictures, plain.
        obfuscated: the targets.
        setting: what the attacker knows of the targets' kind, and under which key `pairs` were made.
        maps: `(n,)` numbers, equal where the attacker knows that two targets share a map; None: all share one.
        pairs: known pairs, or None.
        obfuscate: the owner's machine with the targets' key in it, for chosen plaintext; None where out of reach.
        own_attributes: `(m,)` attribute of each of `own`, for attribute inference.

    Raises:
        ValueError: for shapes that do not fit or an unknown setting.
    """

    own: Images
    obfuscated: Images
    setting: Setting = "informed"
    maps: NDArray[np.int64] | None = None
    pairs: KnownPairs | None = None
    obfuscate: Callable[[Images], Images] | None = field(default=None, repr=False)
    own_attributes: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        _check("own", self.own)
        _check("obfuscated", self.obfuscated)
        if self.own.shape[1:] != self.obfuscated.shape[1:]:
            raise ValueError(f"own must be of the targets' shape {self.obfuscated.shape[1:]}, got {self.own.shape[1:]}")
        if self.setting not in SETTINGS:
            raise ValueError(f"setting must be one of {', '.join(SETTINGS)}, got {self.setting!r}")
        if self.maps is not None and self.maps.shape != (len(self.obfuscated),):
            raise ValueError(f"maps must be one number a target, got shape {self.maps.shape}")
        if self.own_attributes is not None and self.own_attributes.shape != (len(self.own),):
            raise ValueError(f"own_attributes must be one for each of own, got shape {self.own_attributes.shape}")

    @property
    def groups(self) -> list[NDArray[np.int64]]:
        """Row numbers of the targets that share a map, one array a map."""
        if self.maps is None:
            return [np.arange(len(self.obfuscated))]
        return [np.flatnonzero(self.maps == number) for number in np.unique(self.maps)]


@dataclass(frozen=True, eq=False)
class ObfuscatedSet:
    """The game: a view beside the truth, which only the scorer sees.

    Attributes:
        view: what the attacker gets.
        originals: `(n, c, h, w)` uint8, row i the source of target i.
        patients: `(n,)` keys, for intervals; None where each is a patient of its own.
        attributes: `(n,)` true attribute of the targets, for attribute inference.

    Raises:
        ValueError: for shapes that do not fit.
    """

    view: View
    originals: Images
    patients: NDArray[Any] | None = None
    attributes: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        _check("originals", self.originals)
        if self.originals.shape != self.view.obfuscated.shape:
            raise ValueError(
                f"originals must have the targets' shape {self.view.obfuscated.shape}, got {self.originals.shape}"
            )
        for name, keys in (("patients", self.patients), ("attributes", self.attributes)):
            if keys is not None and keys.shape != (len(self.originals),):
                raise ValueError(f"{name} must be one for each of {len(self.originals)} targets, got {keys.shape}")

    @property
    def clear(self) -> View:
        """The same view where nothing was obfuscated: the positive control."""
        pairs = self.view.pairs
        return replace(
            self.view,
            obfuscated=self.originals,
            pairs=None if pairs is None else replace(pairs, obfuscated=pairs.originals),
            obfuscate=None if self.view.obfuscate is None else np.copy,
        )


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What an attack made of the targets.

    Attributes:
        images: `(k, c, h, w)` uint8.
        rows: `(k,)` which target each is of.
        channels: what the attacker believes of the map, where it estimates one.
    """

    images: Images
    rows: NDArray[np.int64]
    channels: Channels | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureResult(AttackResult):
    """An attack between its controls, with its pictures.

    The score of `released`, `positive` and `negative` is SSIM for an attack that reconstructs (negative: the null
    reconstructor); others say in `protocol` what it is. There is no line.

    Attributes:
        reconstructions: `(k, c, h, w)` uint8; none for an attack that does not reconstruct.
        rows: `(k,)` the target of each.
        gains: SSIM, PSNR (dB), MS-SSIM and edge SSIM minus those of the null reconstructor, paired.
        figures: further plain numbers, by name.
        setting: of the view.
    """

    setting: Setting
    gains: Mapping[str, Estimate] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    reconstructions: Images | None = None
    rows: NDArray[np.int64] | None = None

    def to_row(self) -> dict[str, str | int | float | bool | None]:
        """One flat row of a table, with the gains and figures; the pictures are left out."""
        # There is no claim, so there is no line to break and nothing to decide.
        of_claims = ("line", "decided", "confidence", "breaks_the_line", "verdict")
        row = {name: value for name, value in super().to_row().items() if name not in of_claims}
        row["setting"] = self.setting
        for name, gain in self.gains.items():
            row |= {f"{name}_gain": gain.value, f"{name}_gain_low": gain.low, f"{name}_gain_high": gain.high}
        return row | dict(self.figures)


class AttackOnPictures(Attack[ObfuscatedSet]):
    """An attack on obfuscated pictures, whether it reconstructs or only measures what leaks."""

    @abstractmethod
    def run(self, target: ObfuscatedSet, rng: np.random.Generator) -> PictureResult:
        """Attack the targets and the controls; `rng` is the attack's own and the intervals'."""


ATTACKS_ON_PICTURES: Registry[type[AttackOnPictures]] = Registry("attack on obfuscated pictures")


class PictureAttack(AttackOnPictures):
    """An attack that reconstructs; a concrete one gives `reconstruct`."""

    @abstractmethod
    def reconstruct(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """Make pictures of the targets from what the attacker sees.

        Raises:
            ValueError: where the view lacks what the attack needs.
        """

    def control(self, view: View, rng: np.random.Generator) -> Reconstruction:
        """The attack as it is run for the positive control."""
        return self.reconstruct(view, rng)

    def run(self, target: ObfuscatedSet, rng: np.random.Generator) -> PictureResult:
        """Attack the targets and, for the positive control, the same pictures unobfuscated.

        Raises:
            ValueError: where the view lacks what the attack needs.
        """
        found = self.reconstruct(target.view, rng)
        clear = self.control(target.clear, rng)
        own = target.view.own
        measured = distortion(target.originals[found.rows], found.images)
        null = distortion(target.originals[found.rows], null_reconstruction(own, len(found.rows)))
        positive = distortion(target.originals[clear.rows], clear.images)
        seed = int(rng.integers(2**63))

        def interval(values: NDArray[np.float64], rows: NDArray[np.int64]) -> Estimate:
            groups = None if target.patients is None else target.patients[rows]
            return mean(values, groups, resamples=RESAMPLES, seed=seed)

        return PictureResult(
            attack=self.name,
            protocol=self.protocol,
            knowledge=self.knowledge,
            setting=target.view.setting,
            released=interval(measured.ssim, found.rows),
            positive=interval(positive.ssim, clear.rows),
            negative=interval(null.ssim, found.rows),
            gains={name: interval(measured.measure(name) - null.measure(name), found.rows) for name in MEASURES},
            figures=_figures(measured, null) | self._entropy(target, found),
            reconstructions=found.images,
            rows=found.rows,
        )

    def _entropy(self, target: ObfuscatedSet, found: Reconstruction) -> dict[str, float]:
        """Bits a pixel: what the attacker lacks before and after, and what the map itself has destroyed.

        After may exceed before: an attacker who is sure and wrong pays for it.
        """
        if found.channels is None:
            return {}
        originals, obfuscated = target.originals[found.rows], target.view.obfuscated[found.rows]
        maps = np.zeros(len(obfuscated), dtype=np.int64) if target.view.maps is None else target.view.maps[found.rows]
        return {
            "bits_before": found.channels.prior_bits(originals),
            "bits_after": found.channels.bits(originals, obfuscated),
            "bits_lost_by_the_map": residual_bits(originals, obfuscated, maps),
        }


def _figures(measured: Distortion, null: Distortion) -> dict[str, float]:
    told = {name: float(measured.measure(name).mean()) for name in MEASURES}
    told |= {f"null_{name}": float(null.measure(name).mean()) for name in MEASURES}
    return told | {"ms_ssim_scales": float(measured.ms_ssim_scales)}


def _check(name: str, images: Images) -> None:
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"{name} must be (n, c, h, w) uint8 with n at least 1, got {images.shape}, {images.dtype}")
