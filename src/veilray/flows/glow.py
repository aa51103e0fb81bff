"""Glow with a fixed standard normal prior at every level: images to independent normals, and back.

References:
    Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018).
    Local Differential Privacy Image Generation Using Flow-Based Deep Generative Models (Shibata et al., 2023,
    Applied Sciences 13(18), 10132): fixed priors, bounded scale, deterministic encoding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veilray.flows.base import Flow, Images
from veilray.flows.config import GlowConfig
from veilray.flows.latent import Latent
from veilray.flows.multiscale import MultiScale

__all__ = ["Glow", "GlowConfig"]


class Glow(MultiScale, Flow):
    """A Glow as an `Encoder` of integer images, and as a `Flow` from `(n, c, h, w)` to `(n, dimension)`.

    Every latent at every level has the fixed prior N(0, I). A new flow is random in its rotations only, drawn
    from `seed`; `initialise` sets its ActNorms from the first training batch.

    Example:
        >>> flow = Glow(GlowConfig(size=8, levels=2, steps=2, width=8))
        >>> images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
        >>> bool((flow.decode(flow.encode(images)) == images).all())
        True
    """

    def __init__(self, config: GlowConfig, seed: int = 0) -> None:
        super().__init__(config, torch.Generator().manual_seed(seed))

    # The flow: continuous images to flat latents.

    def forward(self, x: Tensor) -> Tensor:
        """Return the flat latent `(n, dimension)` of continuous images `(n, c, h, w)`."""
        return Latent(tuple(self._encode(x, ladj=False)[0])).flat()

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flat latent and log |det dy/dx| `(n,)` in nats."""
        parts, total = self._encode(x, ladj=True)
        return Latent(tuple(parts)).flat(), total

    def inverse(self, y: Tensor) -> Tensor:
        """Return the continuous images `(n, c, h, w)` of flat latents."""
        return self._decode(Latent.from_flat(y, self.config.latent_shapes))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density `(n,)` in nats of continuous images."""
        return self._log_prob(x)

    def initialise(self, x: Tensor) -> None:
        """Set every ActNorm from a batch of continuous images; those set before keep their values."""
        self._initialise(x)

    # The encoder: integer images to latents.

    def encode(self, images: Images) -> Latent:
        """Encode integer images, each pixel at the centre of its bin: deterministic, row by row.

        Args:
            images: `(n, channels, size, size)`, uint8 up to 8 bits and uint16 above; tensor or array.

        Returns:
            The latent, in the dtype of the model, on the device of the model.

        Raises:
            ValueError: for another shape or dtype.
        """
        return self._encode_integers(images)

    def decode(self, latent: Latent) -> Tensor:
        """Decode any latent to integer images; what falls outside the grey levels is clamped.

        Returns:
            `(n, channels, size, size)`, uint8 up to 8 bits and uint16 above. `decode(encode(images))` is
            `images`, exactly.

        Raises:
            ValueError: when the level shapes are not those of the model.
        """
        return self._decode_integers(latent)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n integer images from the model: latents from N(0, temperature**2 I), decoded.

        For experiments: the generator is torch's, not one fit for a release.
        """
        return self._sample(n, generator, temperature)

    def bits_per_dimension(self, images: Images, seed: int = 0) -> Tensor:
        """Return -log2 of the likelihood of integer images, a pixel and channel: `(n,)`, in bits.

        Uniform dequantisation draws one point of each bin from `seed`; the figure is an upper bound on the
        model's code length.
        """
        return self._bits_per_dimension(images, seed)

    def loss(self, x: Tensor) -> Tensor:
        """Return bits per dimension `(n,)` of dequantised images: what training lowers."""
        return self._loss(x)
