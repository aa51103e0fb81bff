"""Networks that squeeze a picture into a short code and rebuild it: variational, and linear."""

from veilray.autoencoders.base import AUTOENCODERS, Autoencoder, OnProgress, State, default_features, restore
from veilray.autoencoders.linear import LinearAutoencoder, LinearConfig
from veilray.autoencoders.quality import likeness
from veilray.autoencoders.vae import VaeConfig, VariationalAutoencoder

__all__ = [
    "AUTOENCODERS",
    "Autoencoder",
    "LinearAutoencoder",
    "LinearConfig",
    "OnProgress",
    "State",
    "VaeConfig",
    "VariationalAutoencoder",
    "default_features",
    "likeness",
    "restore",
]
