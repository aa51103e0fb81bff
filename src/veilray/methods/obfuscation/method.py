"""Obfuscation: an autoencoder and a random non-bijective intensity map, for training in someone else's cloud.

A re-implementation of the published idea, not a reproduction: Popescu et al. 2022, "Obfuscation algorithm for
privacy-preserving deep learning-based medical image analysis", Applied Sciences 12(8), 3997. The order of its two steps
is not known to us, so the orders are options:

    map-last    image -> autoencoder -> map         (encoder none: the map only)
    map-first   image -> map -> autoencoder; the autoencoder is fitted on mapped pictures
    no-map      image -> autoencoder; no key has a part in it

It carries no epsilon and is neither a cipher nor a release: empirical, no formal guarantee.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from veilray.autoencoders import AUTOENCODERS, Autoencoder
from veilray.autoencoders.base import AutoencoderConfig, default_features
from veilray.durable import write_bytes
from veilray.images import Geometry
from veilray.methods.fitting import PublicCollection, public_images
from veilray.methods.obfuscation.intensity_map import MapFamily, Scope, apply_each
from veilray.methods.obfuscation.keys import Key
from veilray.methods.obfuscation.survival import family_figures
from veilray.networks.artefact import digest_of, metadata_of, packed, read_tensors, unpacked
from veilray.networks.settings import TrainingSettings, check_seed
from veilray.privacy import Entropy, ModelTraining, SystemEntropy
from veilray.privacy.guarantee import EMPIRICAL
from veilray.releases.model import ModelCard, read_card
from veilray.releases.training_record import training_statement

__all__ = ["NAME", "Obfuscation", "Recipe"]

NAME = "obfuscation"
_WEIGHTS = "weights.safetensors"
_NONCE_BYTES = 16
_MAPPED_AT_ONCE = 4096


Order = Literal["map-last", "map-first", "no-map"]
Encoding = Literal["mean", "sampled"]
FitProgress = Callable[..., None]


@dataclass(frozen=True)
class Recipe:
    """What is done to a picture, all of it public: who knows it all, the weights too, lacks only the key.

    Args:
        size, channels: of the pictures, 8 bits each.
        encoder: `none` or a registered autoencoder.
        order: see the top of this file.
        maps: the family that intensity maps are drawn from.
        encoding: whether the autoencoder's code is its mean or a sample.

    Raises:
        ValueError: for unknown words, or a recipe that changes nothing.
    """

    size: int
    channels: int = 1
    encoder: str = "none"
    order: Order = "map-last"
    maps: MapFamily = field(default_factory=MapFamily)
    encoding: Encoding = "mean"

    def __post_init__(self) -> None:
        Geometry(self.size, self.channels)
        if self.encoder != "none" and self.encoder not in AUTOENCODERS:
            raise ValueError(f"encoder must be one of none, {', '.join(AUTOENCODERS)}, got {self.encoder!r}")
        for what, given, allowed in (("order", self.order, Order), ("encoding", self.encoding, Encoding)):
            if given not in get_args(allowed):
                raise ValueError(f"{what} must be one of {', '.join(get_args(allowed))}, got {given!r}")
        if self.encoder == "none" and self.order != "map-last":
            raise ValueError(f"order must be map-last without an encoder, got {self.order!r}: choose vae or pca")
        if self.encoder == "none" and self.encoding == "sampled":
            raise ValueError("encoding must be mean without an encoder, got 'sampled': choose vae")

    @property
    def geometry(self) -> Geometry:
        """The pictures that come in and go out."""
        return Geometry(self.size, self.channels)

    @property
    def keyed(self) -> bool:
        """Whether the key has a part in the pictures."""
        return self.order != "no-map"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Recipe:
        """The inverse of `to_dict`. Raises ValueError for anything else."""
        try:
            return cls(**{**told, "maps": MapFamily(**told["maps"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"a recipe must have the fields of one, got others: {error}") from None


class Obfuscation:
    """A recipe with its fitted autoencoder.

    Not a `Method`: it has no mechanism, and `veilray release` refuses it.

    Args:
        recipe: what is done.
        autoencoder: fitted; None where the encoder is `none`.
        card: the model card.

    Raises:
        ValueError: where recipe and autoencoder do not belong together.
    """

    name = NAME
    guarantee = None

    def __init__(self, recipe: Recipe, autoencoder: Autoencoder | None, card: ModelCard) -> None:
        found = "none" if autoencoder is None else autoencoder.name
        if found != recipe.encoder:
            raise ValueError(f"autoencoder must be {recipe.encoder} as in the recipe, got {found}")
        if autoencoder is not None and autoencoder.config.shape != recipe.geometry.shape:
            raise ValueError(f"autoencoder must be of {recipe.geometry.shape}, got {autoencoder.config.shape}")
        self.recipe = recipe
        self.autoencoder = autoencoder
        self.card = card

    @classmethod
    def fit(
        cls,
        collection: PublicCollection,
        folder: Path,
        *,
        size: int = 64,
        channels: int = 1,
        encoder: str = "vae",
        order: Order = "map-last",
        map_levels: int = 64,
        map_smoothness: float = 0.0,
        map_scope: Scope = "image",
        map_batch: int = 64,
        encoding: Encoding = "mean",
        epochs: int = 20,
        max_minutes: float | None = None,
        seed: int = 0,
        training_data: str = "not covered",
        statement: str = "",
        name: str = NAME,
        on_progress: FitProgress | None = None,
        **options: Any,
    ) -> Obfuscation:
        """Fit the autoencoder, measure what the maps leave standing, and write the MODEL folder.

        A tenth of the patients is held out for the figures. For `map-first` the autoencoder sees pictures under maps
        of keys that are used once. Without an encoder the images serve the figures alone.

        Args:
            options: those of the autoencoder, such as `features` or `kl_weight`.

        Raises:
            ValueError: for a recipe that does not fit, fewer than 10 images, or a folder that already holds a model.
        """
        check_seed(seed)
        maps = MapFamily(map_levels, map_smoothness, map_scope, map_batch)
        recipe = Recipe(size, channels, encoder, order, maps, encoding)
        training = training_statement(training_data, statement)
        if encoder == "none" and options:
            raise ValueError(f"{min(options)} must go with an encoder, got it with none")
        if encoder != "none":  # what cannot be fitted is told before an image is read
            TrainingSettings(epochs=epochs, batch_size=1, learning_rate=1e-3, max_minutes=max_minutes, seed=seed)
            AutoencoderConfig(size, channels, options["features"] if "features" in options else default_features(size))
        with public_images(collection, recipe.geometry, folder, resume=False) as images:
            figures = {} if order == "no-map" else family_figures(maps, images.validation)
            autoencoder = None
            if encoder != "none":
                seen = [images.training, images.validation]
                if order == "map-first":
                    seen = [_under_fresh_maps(part, maps) for part in seen]
                autoencoder = AUTOENCODERS[encoder].fit(
                    seen[0],
                    seen[1],
                    seed=seed,
                    epochs=epochs,
                    max_minutes=max_minutes,
                    on_progress=on_progress,
                    **options,
                )
                figures |= {f"encoder_{what}": value for what, value in autoencoder.figures.items()}
            content = _packed(recipe, autoencoder)
            card = ModelCard(
                name=name,
                method=NAME,
                geometry={"size": size, "channels": channels, "bits": 8},
                geometry_rule=images.geometry_rule,
                intensity=images.intensity,
                training=training,
                training_images=len(images.training),
                training_patients=images.patients,
                levels_of=images.levels_of if training.data == "public" else {},
                figures=figures,
                configuration={**recipe.to_dict(), "claim": EMPIRICAL},
                weights_sha256=digest_of(content),
                intended_use=f"training of image models by somebody who lacks the key ({EMPIRICAL}); not for diagnosis",
            )
        model = cls(recipe, autoencoder, card)
        model.save(folder)
        return model

    def save(self, folder: Path) -> None:
        """Write the MODEL folder: weights and recipe as safetensors, the card as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_bytes(folder / _WEIGHTS, _packed(self.recipe, self.autoencoder))
            self.card.write(folder)
        except BaseException:
            (folder / _WEIGHTS).unlink(missing_ok=True)  # weights without a card are no model, and stand in the way
            raise

    @classmethod
    def load(cls, folder: Path) -> Obfuscation:
        """Read a MODEL folder.

        Raises:
            ValueError: for a missing, truncated or altered file, or the model of another method.
        """
        card = read_card(folder)
        if card.method != NAME:
            raise ValueError(
                f"MODEL must be written by `veilray fit obfuscation`, got one of {card.method} in {folder}: "
                "`veilray release` makes releases of it"
            )
        path = folder / _WEIGHTS
        content = read_tensors(path, card.weights_sha256)
        recipe, autoencoder = _unpacked(content, path)
        if card.configuration != {**recipe.to_dict(), "claim": EMPIRICAL}:
            raise ValueError(f"the model card must tell the recipe of its weights, got another in {folder}")
        return cls(recipe, autoencoder, card)

    def identity(self, key: Key) -> str:
        """What tells the cloud that two folders under one key are of one model: 64 hexadecimal digits.

        The hash of the weights where they were fitted on public images. Elsewhere it is drawn from the key: fitting is
        deterministic, so the hash itself would tell whoever guesses all training images whether the guess is right.
        """
        if self.card.training.data == "public":
            return self.card.weights_sha256
        return key.stream(f"model identity {self.card.weights_sha256}").bytes(32).hex()

    @property
    def geometry(self) -> Geometry:
        """The pictures that come in and go out."""
        return self.recipe.geometry

    @property
    def training(self) -> ModelTraining:
        """What the autoencoder was fitted on."""
        return self.card.training

    def nonces(self, count: int, entropy: Entropy | None = None) -> list[bytes]:
        """Fresh nonces for `count` pictures: those with equal ones share a map.

        Args:
            entropy: the operating system's by default; seeded for an experiment.
        """
        drawn = entropy or SystemEntropy()
        maps = self.recipe.maps
        if maps.scope == "key":
            return [b""] * count
        shared = 1 if maps.scope == "image" else maps.batch
        fresh = [drawn.bytes(_NONCE_BYTES) for _ in range(-(-count // shared))]
        return [fresh[row // shared] for row in range(count)]

    def obfuscate(
        self,
        images: NDArray[Any],
        key: Key,
        nonces: Sequence[bytes] | None = None,
        *,
        entropy: Entropy | None = None,
    ) -> NDArray[np.uint8]:
        """Obfuscate pictures.

        Args:
            images: `(n, c, size, size)` uint8.
            key: the owner's.
            nonces: one a picture; key, model and nonce fix a map. Default: `nonces(n)`, fresh on every call.
            entropy: of fresh nonces and sampled codes: the operating system's by default, seeded for an experiment.

        Returns:
            Pictures of the same shape, uint8.

        Raises:
            ValueError: for images of another shape or type, or another number of nonces.
        """
        shape = self.geometry.shape
        if images.shape[1:] != shape or images.dtype != np.uint8:
            wanted = f"(n, {', '.join(map(str, shape))}) uint8"
            raise ValueError(f"images must be {wanted} as in the model, got {images.shape} {images.dtype}")
        drawn = SystemEntropy() if entropy is None else entropy
        given = self.nonces(len(images), drawn) if nonces is None else list(nonces)
        if len(given) != len(images):
            raise ValueError(f"nonces must be {len(images)}, one an image, got {len(given)}")
        if not len(images):
            return np.zeros((0, *shape), np.uint8)
        if self.recipe.order == "map-first":
            return self._reconstructed(self._mapped(images, key, given), drawn)
        pictures = self._reconstructed(images, drawn)
        return pictures if self.recipe.order == "no-map" else self._mapped(pictures, key, given)

    def _mapped(self, images: NDArray[Any], key: Key, nonces: Sequence[bytes]) -> NDArray[np.uint8]:
        distinct = {nonce: row for row, nonce in enumerate(dict.fromkeys(nonces))}
        purpose = f"intensity map {self.card.weights_sha256}"
        tables = self.recipe.maps.tables([key.stream(purpose, nonce) for nonce in distinct])
        return apply_each(images, tables[[distinct[nonce] for nonce in nonces]])

    def _reconstructed(self, images: NDArray[Any], entropy: Entropy) -> NDArray[np.uint8]:
        if self.autoencoder is None:
            return np.asarray(images, np.uint8)
        generator = None
        if self.recipe.encoding == "sampled":
            generator = torch.Generator().manual_seed(entropy.below(2**63))
        return self.autoencoder.reconstruct(images, generator=generator)

    def __repr__(self) -> str:
        return f"Obfuscation({self.recipe}, {EMPIRICAL})"


def _under_fresh_maps(images: NDArray[Any], maps: MapFamily) -> NDArray[np.uint8]:
    """Every picture under a map of its own: what the autoencoder will meet, whatever the key."""
    key = Key.fresh()
    mapped = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _MAPPED_AT_ONCE):
        rows = range(start, min(start + _MAPPED_AT_ONCE, len(images)))
        tables = maps.tables([key.stream("fitting", b"%d" % row) for row in rows])
        mapped[rows.start : rows.stop] = apply_each(np.asarray(images[rows.start : rows.stop]), tables)
    return mapped


def _packed(recipe: Recipe, autoencoder: Autoencoder | None) -> bytes:
    """Weights and recipe in one file, so that one hash covers both."""
    config, tensors = ({}, {}) if autoencoder is None else autoencoder.state()
    told = {"recipe": recipe.to_dict(), "autoencoder": config}
    return packed(tensors, {NAME: json.dumps(told, sort_keys=True)})


def _unpacked(content: bytes, path: Path) -> tuple[Recipe, Autoencoder | None]:
    tensors = unpacked(content, path)
    try:
        told = json.loads(metadata_of(content)[NAME])
        recipe, described = Recipe.from_dict(told["recipe"]), told["autoencoder"]
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"the weights must be those of an obfuscation, got {path}: {error}") from None
    if recipe.encoder == "none":
        return recipe, None
    return recipe, AUTOENCODERS[recipe.encoder].from_state(described, tensors)
