"""From a released code to a picture: post-processing, at no cost in epsilon.

Two ways, one for each kind of kept code. A content code conditions a flow, and all of its latent is drawn from the
prior. A code in the latent takes its place there, and the rest of the latent is drawn from the prior.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from veilray.codes import ContentCode, LatentCode
from veilray.flows import Condition, ConditionalGlow, Latent
from veilray.privacy import Entropy
from veilray.privacy.samplers.normal import normals

__all__ = ["ContentRenderer", "LatentRenderer", "Renderer", "consistent"]

_ROUNDS = 6
_STEP = 0.7


class Renderer(Protocol):
    """Code rows `(n, k)`, each number of about deviation 1, to integer pictures `(n, c, h, w)`."""

    def __call__(self, codes: NDArray[np.float64], alignment: float, entropy: Entropy) -> NDArray[Any]:
        """Draw pictures of `codes`, of which `alignment` says how much they can be trusted."""


class ContentRenderer:
    """Decode under the code, then correct the picture until its own code is the released one."""

    def __init__(self, flow: ConditionalGlow, code: ContentCode) -> None:
        self.flow, self.code = flow, code

    def __call__(self, codes: NDArray[np.float64], alignment: float, entropy: Entropy) -> NDArray[Any]:
        return consistent(self.sampled(codes, alignment, entropy), codes * self.code.scale.numpy(), self.code)

    def sampled(self, codes: NDArray[np.float64], alignment: float, entropy: Entropy) -> NDArray[Any]:
        """Pictures as the flow draws them, before any correction."""
        rest = normals(entropy.words((len(codes), self.flow.config.dimension), np.uint64))
        told = np.concatenate([codes, np.full((len(codes), 1), alignment)], axis=1).astype(np.float32)
        latent = Latent.from_flat(rest.astype(np.float32), self.flow.config.latent_shapes)
        pictures: NDArray[Any] = self.flow.decode(latent, Condition.of(continuous=told)).cpu().numpy()
        return pictures


class LatentRenderer:
    """Put the code into the latent and decode."""

    def __init__(self, code: LatentCode) -> None:
        self.code = code

    def __call__(self, codes: NDArray[np.float64], alignment: float, entropy: Entropy) -> NDArray[Any]:
        config = self.code.flow.config
        rest = normals(entropy.words((len(codes), config.dimension), np.uint64))
        latent = self.code.place(codes, rest).astype(np.float32)
        pictures: NDArray[Any] = self.code.flow.decode(Latent.from_flat(latent, config.latent_shapes)).cpu().numpy()
        return pictures


def consistent(pictures: NDArray[Any], codes: NDArray[np.float64], code: ContentCode) -> NDArray[Any]:
    """Move pictures `(n, c, h, w)` along the code's renderer until their own codes are near `codes` `(n, k)`.

    A picture made from a released code is that code's post-processing, and so is any correction towards it. Damped
    steps leave a thousandth of what a linear code misses, but for clipping and rounding; for other codes they come
    closer. The nearest picture met on the way, the first one included, is kept: for each by itself.
    """
    best, least = pictures, np.full(len(pictures), np.inf)
    renderer = code.renderer.numpy()
    top = 2**code.bits - 1
    current = pictures
    for _ in range(_ROUNDS + 1):
        missing = codes - code.encode(current)
        distance = np.linalg.norm(missing, axis=1)
        nearer = distance < least
        best = np.where(nearer[:, None, None, None], current, best)
        least = np.minimum(least, distance)
        change = (_STEP * missing.astype(np.float32) @ renderer).reshape(pictures.shape)
        current = np.clip(np.rint(current + change), 0, top).astype(pictures.dtype)
    return np.asarray(best)
