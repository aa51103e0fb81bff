"""The contract of every autoencoder: pictures of 8 bits to short codes, and back.

A code is a row of float32 numbers that are about standard normal over the training images. What is rebuilt from it is
blurred, not protected: an autoencoder carries no claim of privacy of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veilray.autoencoders.quality import likeness
from veilray.registry import Registry

__all__ = [
    "AUTOENCODERS",
    "Autoencoder",
    "AutoencoderConfig",
    "Codes",
    "Images",
    "OnProgress",
    "State",
    "check_fit",
    "default_features",
    "restore",
]

Images = NDArray[np.uint8]
"""Pictures `(n, channels, size, size)` of 8 bits; an array or a memory map."""
Codes = NDArray[np.float32]
"""One row a picture, `(n, features)`."""
OnProgress = Callable[[int, int, str], None]
"""Told steps done, all steps, and a few words on how it stands."""
State = tuple[dict[str, Any], dict[str, Tensor]]
"""A description that is JSON, and the tensors for a safetensors file."""

_CHUNK = 64
"""Pictures a pass: the activations of 64 x 64 pictures then stay in the processor's cache."""
_HELD_OUT = 512
"""Validation images that the figures are of, at most: SSIM of large pictures is slow."""
_SMALLEST_SIZE = 8
_MOST_FEATURES = 2**16
_LARGEST_SIZE = 2048


@dataclass(frozen=True)
class AutoencoderConfig:
    """What must be known before there is a weight.

    Args:
        size: height and width of the pictures, in pixels, 8 to 2,048.
        channels: colour channels, 1 or more.
        features: numbers of a code, 1 to 65,536.

    Raises:
        ValueError: for a value outside its range.
    """

    size: int
    channels: int
    features: int

    def __post_init__(self) -> None:
        for name in ("size", "channels", "features"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_FEATURES:
                raise ValueError(
                    f"{name} must be a whole number of 1 or more, at most {_MOST_FEATURES:,}, got {value!r}"
                )
        if not _SMALLEST_SIZE <= self.size <= _LARGEST_SIZE:
            raise ValueError(f"size must be {_SMALLEST_SIZE} to {_LARGEST_SIZE} pixels, got {self.size}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, size, size)` of a picture."""
        return self.channels, self.size, self.size

    @property
    def pixels(self) -> int:
        """Numbers of a picture."""
        return self.channels * self.size * self.size


class Autoencoder(ABC):
    """Pictures to codes and back, row by row: no row depends on another.

    `figures` are those of the fit: `ssim`, `psnr` (dB) and `bits_per_dimension` of held-out images (a true upper bound
    of what a lossless coder would need), `kl_bits` a picture where there is one, `parameters` and `seconds`.
    """

    name: ClassVar[str]
    """Its name in the registry."""
    config: AutoencoderConfig
    figures: dict[str, float]

    @classmethod
    @abstractmethod
    def fit(
        cls,
        images: Images,
        validation: Images,
        *,
        features: int | None = None,
        seed: int = 0,
        epochs: int = 10,
        max_minutes: float | None = None,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> Self:
        """Fit to images; the figures are of the validation images, whatever their number, by at most 512 of them.

        Args:
            images: what to learn from, `(n, c, size, size)`, an array or a memory map.
            validation: held-out images of the same shape.
            features: numbers a code; by default `default_features(size)`.
            seed: of every draw; equal seeds give equal weights on one machine with one number of threads.
            epochs: passes over the images, where there are passes.
            max_minutes: stop after this time, at the end of the schedule's last step that fits.
            on_progress: told after every step.
            options: what this autoencoder alone knows.

        Raises:
            ValueError: for images or options that it cannot be fitted with.
        """

    @abstractmethod
    def _encode(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """A chunk of float32 grey levels to codes; a draw of the code where there is a generator."""

    @abstractmethod
    def _decode(self, codes: Tensor) -> Tensor:
        """A chunk of codes to grey levels, continuous: the level v is [v, v + 1)."""

    @abstractmethod
    def _bits_per_dimension(self, images: Tensor) -> Tensor:
        """Upper bound of the bits a number of each picture, `(n,)`."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """What was fitted."""

    @classmethod
    @abstractmethod
    def _restore(cls, config: dict[str, Any], figures: dict[str, float], tensors: Mapping[str, Tensor]) -> Self:
        """Build from a state. Raises TypeError for a config of another kind, ValueError for other tensors."""

    def encode(self, images: Images, *, generator: torch.Generator | None = None) -> Codes:
        """Map pictures to codes `(n, features)`: their means, or one draw each where a generator is given.

        Raises:
            ValueError: for images of another shape or dtype.
        """
        _check_images("images", images, self.config.shape)
        with torch.inference_mode():
            chunks = [self._encode(chunk, generator) for chunk in _chunks(images)]
        return torch.cat(chunks).numpy() if chunks else np.empty((0, self.config.features), np.float32)

    def decode(self, codes: Codes) -> Images:
        """Map codes `(n, features)` to pictures.

        Raises:
            ValueError: for codes of another shape, or not finite.
        """
        if codes.ndim != 2 or codes.shape[1] != self.config.features:
            raise ValueError(f"codes must be (n, {self.config.features}), got {codes.shape}")
        if not np.isfinite(codes).all():
            raise ValueError("codes must be finite, got some that are not")
        rows = torch.from_numpy(np.ascontiguousarray(codes, np.float32))
        with torch.inference_mode():
            chunks = [_to_pixels(self._decode(chunk)) for chunk in torch.split(rows, _CHUNK)]
        return torch.cat(chunks).numpy()

    def reconstruct(self, images: Images, *, generator: torch.Generator | None = None) -> Images:
        """Encode and decode: what is left of the pictures.

        Raises:
            ValueError: for images of another shape or dtype.
        """
        _check_images("images", images, self.config.shape)
        with torch.inference_mode():
            chunks = [_to_pixels(self._decode(self._encode(chunk, generator))) for chunk in _chunks(images)]
        return torch.cat(chunks).numpy() if chunks else np.empty((0, *self.config.shape), np.uint8)

    def bits_per_dimension(self, images: Images) -> NDArray[np.float64]:
        """Upper bound of the bits a number that each picture takes, `(n,)`; the same on every call.

        Raises:
            ValueError: for images of another shape or dtype.
        """
        _check_images("images", images, self.config.shape)
        with torch.inference_mode():
            chunks = [self._bits_per_dimension(chunk).double() for chunk in _chunks(images)]
        return torch.cat(chunks).numpy() if chunks else np.empty(0)

    def state(self) -> State:
        """The whole autoencoder as a JSON description and tensors; `restore` undoes it."""
        description = {"autoencoder": self.name, "config": asdict(self.config), "figures": dict(self.figures)}
        return description, {name: tensor.detach().contiguous() for name, tensor in self._tensors().items()}

    @classmethod
    def from_state(cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Build what `state` described.

        Raises:
            ValueError: for the state of another autoencoder, or tensors that are missing, foreign, of another shape or
                not finite.
        """
        found = description.get("autoencoder") if isinstance(description, Mapping) else None
        if found != cls.name:
            raise ValueError(f"the autoencoder must be {cls.name!r}, got {found!r}")
        try:
            placed = {name: tensor.clone() for name, tensor in tensors.items()}  # in a file they begin anywhere
            return cls._restore(dict(description["config"]), dict(description["figures"]), placed)
        except (TypeError, KeyError, RuntimeError):  # torch raises the last for shapes beyond 64 bits
            raise ValueError(f"the config must be that of a {cls.name}, got {description.get('config')!r}") from None

    def _measure(self, validation: Images) -> dict[str, float]:
        """The figures of held-out images, spread evenly over all of them where there are too many."""
        share = validation[np.linspace(0, len(validation) - 1, min(len(validation), _HELD_OUT)).astype(int)]
        bits = float(self.bits_per_dimension(share).mean())
        return {**likeness(share, self.reconstruct(share)), "bits_per_dimension": bits}


AUTOENCODERS = Registry[type[Autoencoder]]("encoder")


def restore(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Autoencoder:
    """Build any registered autoencoder from its state. Raises ValueError for a state that is not one."""
    return AUTOENCODERS[str(description.get("autoencoder"))].from_state(description, tensors)


def default_features(size: int) -> int:
    """Numbers a code for pictures of this size: two for each row of pixels, and 256 at most."""
    return min(2 * size, 256)


def check_fit(images: Images, validation: Images, features: int | None) -> AutoencoderConfig:
    """The shape of what is to be fitted. Raises ValueError for images that do not fit together."""
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be (n, channels, size, size), got {images.shape}")
    size = images.shape[2]
    config = AutoencoderConfig(size, images.shape[1], default_features(size) if features is None else features)
    for what, given, fewest in (("images", images, 2), ("validation", validation, 1)):
        _check_images(what, given, config.shape)
        if len(given) < fewest:
            raise ValueError(f"{what} must be {fewest} or more, got {len(given)}")
    return config


def _check_images(what: str, images: Images, shape: tuple[int, int, int]) -> None:
    if images.ndim != 4 or images.shape[1:] != shape:
        raise ValueError(f"{what} must be (n, {', '.join(map(str, shape))}), got {images.shape}")
    if images.dtype != np.uint8:
        raise ValueError(f"{what} must be uint8, got {images.dtype}")


def _chunks(images: Images) -> Iterator[Tensor]:
    for start in range(0, len(images), _CHUNK):
        # Widened by torch, whose memory begins at a multiple of 64 bytes: where a row begins decides how it is summed.
        yield torch.from_numpy(np.array(images[start : start + _CHUNK])).float()


def _to_pixels(levels: Tensor) -> Tensor:
    return levels.floor().clamp(0, 255).to(torch.uint8)
