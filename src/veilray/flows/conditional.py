"""Glow under conditions: numbers and categories that steer every coupling net.

References:
    Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018).
    Guided Image Generation with Conditional Invertible Neural Networks (Ardizzone et al., 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from veilray.flows.base import Images
from veilray.flows.condition import Condition, ConditionConfig
from veilray.flows.conditioner import Conditioner
from veilray.flows.config import GlowConfig
from veilray.flows.latent import Latent
from veilray.flows.layers import Given
from veilray.flows.multiscale import MultiScale

__all__ = ["ConditionalGlow"]


class ConditionalGlow(MultiScale):
    """A Glow p(x | condition), invertible in x for every condition.

    The methods are those of `Glow`, each with the `Condition` as one more argument: one row an image, in the
    same order. Every latent has the fixed prior N(0, I), whatever the condition. `inverse` is differentiable
    in the latent and in the continuous conditions.

    A value that is missing (NaN, or level -1) tells the flow nothing until training has shown it some.

    Raises:
        ValueError: by every method, when the condition is not of the kind or the number of rows it must be.

    Example:
        >>> flow = ConditionalGlow(GlowConfig(size=8, levels=2, steps=2, width=8), ConditionConfig(2, (10,)))
        >>> images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
        >>> condition = Condition.of(continuous=[[0.3, -1.2], [1.0, 0.1]], categorical=[7, 2])
        >>> bool((flow.decode(flow.encode(images, condition), condition) == images).all())
        True
    """

    def __init__(self, config: GlowConfig, conditions: ConditionConfig, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        super().__init__(config, generator, conditions.maps)
        self.conditions = conditions
        self.conditioner = Conditioner(conditions, config, generator)

    # Continuous images to flat latents.

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        """Return the flat latent `(n, dimension)` of continuous images `(n, c, h, w)`."""
        return Latent(tuple(self._encode(x, self._matched(condition, len(x)), ladj=False)[0])).flat()

    def call_and_ladj(self, x: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """Return the flat latent and log |det dy/dx| `(n,)` in nats."""
        parts, total = self._encode(x, self._matched(condition, len(x)), ladj=True)
        return Latent(tuple(parts)).flat(), total

    def inverse(self, y: Tensor, condition: Condition) -> Tensor:
        """Return the continuous images `(n, c, h, w)` of flat latents."""
        latent = Latent.from_flat(y, self.config.latent_shapes)
        return self._decode(latent, self._matched(condition, len(y)))

    def log_prob(self, x: Tensor, condition: Condition) -> Tensor:
        """Return the log-density `(n,)` in nats of continuous images."""
        return self._log_prob(x, self._matched(condition, len(x)))

    def loss(self, x: Tensor, condition: Condition) -> Tensor:
        """Return bits per dimension `(n,)` of dequantised images: what training lowers."""
        return self._loss(x, self._matched(condition, len(x)))

    def initialise(self, x: Tensor, condition: Condition) -> None:
        """Set every ActNorm from a batch of continuous images; those set before keep their values."""
        self._initialise(x, self._matched(condition, len(x)))

    # Integer images to latents.

    def encode(self, images: Images, condition: Condition) -> Latent:
        """Encode integer images as `Glow.encode` does: deterministic, row by row."""
        return self._encode_integers(images, self._matched(condition, len(images)))

    def decode(self, latent: Latent, condition: Condition) -> Tensor:
        """Decode any latent to integer images as `Glow.decode` does; under its own condition, exactly."""
        return self._decode_integers(latent, self._matched(condition, len(latent)))

    def sample(
        self, condition: Condition | int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        """Draw one integer image a row of the condition: latents from N(0, temperature**2 I), decoded.

        For experiments: the generator is torch's, not one fit for a release.

        Args:
            condition: what to draw under; a number n stands for n rows of which nothing is known.
            generator: of the latents.
            temperature: 0 or more; 1 is the model.
        """
        given = self.conditions.missing(condition) if isinstance(condition, int) else condition
        return self._sample(len(given), generator, temperature, self._matched(given, len(given)))

    def bits_per_dimension(self, images: Images, condition: Condition, seed: int = 0) -> Tensor:
        """Return -log2 of the likelihood of integer images, a pixel and channel: `(n,)`, in bits.

        Uniform dequantisation draws one point of each bin from `seed`.
        """
        return self._bits_per_dimension(images, seed, self._matched(condition, len(images)))

    def extra_repr(self) -> str:
        """Return what stands between the brackets of repr()."""
        given = ", ".join(f"{name}={value}" for name, value in self.conditions.to_dict().items())
        return f"{super().extra_repr()}, {given}"

    # What the passes are told.

    def _matched(self, condition: Condition, rows: int) -> Condition:
        self.conditions.check(condition, rows)
        return condition.to(self.device, self.dtype)

    def _tell(self, condition: Condition | None) -> list[list[Given]]:
        assert condition is not None
        return self.conditioner(condition)  # type: ignore[no-any-return]
