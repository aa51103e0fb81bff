"""The settings of the obfuscation study by name, and the models they are made of. Nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MODELS", "RAW", "SETTINGS", "WITHOUT_PICTURES", "FittedModel", "Setting"]

RAW = "raw"
"""Nothing is done to the pictures: the control of utility and of time."""

WITHOUT_PICTURES = ("edge-leak", "histogram-attribute")
"""Attacks that reconstruct nothing."""


@dataclass(frozen=True)
class FittedModel:
    """What is fitted once for a data set; the maps are a part of it only where the encoder saw mapped pictures."""

    encoder: str
    order: str


MODELS = {
    "none": FittedModel("none", "map-last"),
    "vae": FittedModel("vae", "no-map"),
    "pca": FittedModel("pca", "no-map"),
    "map-vae": FittedModel("vae", "map-first"),
    "map-pca": FittedModel("pca", "map-first"),
}


@dataclass(frozen=True)
class Setting:
    """One way to obfuscate: a fitted model, and the maps before or after it.

    Attributes:
        model: a name in `MODELS`.
        order: `map-last`, `map-first` or `no-map`.
        levels, smoothness, scope, batch: of the maps.
        title: for tables and figures.
    """

    title: str
    model: str
    order: str = "map-last"
    levels: int = 64
    smoothness: float = 0.0
    scope: str = "image"
    batch: int = 16

    @property
    def keyed(self) -> bool:
        """Whether the key has a part in it."""
        return self.order != "no-map"


def _settings() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for scope, told in (("image", "a map an image"), ("key", "one map a key")):
        found |= {
            f"map-{scope}": Setting(f"map only, {told}", "none", scope=scope),
            f"vae-map-{scope}": Setting(f"VAE, then map; {told}", "vae", scope=scope),
            f"map-vae-{scope}": Setting(f"map, then VAE; {told}", "map-vae", "map-first", scope=scope),
            f"pca-map-{scope}": Setting(f"PCA, then map; {told}", "pca", scope=scope),
            f"map-pca-{scope}": Setting(f"map, then PCA; {told}", "map-pca", "map-first", scope=scope),
            f"map-8-{scope}": Setting(f"map onto 8 levels, {told}", "none", levels=8, scope=scope),
            f"map-smooth-{scope}": Setting(f"monotone map, {told}", "none", smoothness=1.0, scope=scope),
        }
    shared = "a map for 16 images"
    found |= {
        "map-2-image": Setting("map onto 2 levels, a map an image", "none", levels=2),
        "vae-map-8-image": Setting("VAE, then map onto 8 levels; a map an image", "vae", levels=8),
        "map-batch": Setting(f"map only, {shared}", "none", scope="batch"),
        "vae-map-batch": Setting(f"VAE, then map; {shared}", "vae", scope="batch"),
    }
    return found | {"vae": Setting("VAE only", "vae", "no-map"), "pca": Setting("PCA only", "pca", "no-map")}


SETTINGS = _settings()
