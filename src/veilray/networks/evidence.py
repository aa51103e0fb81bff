"""The evidence bound of a variational autoencoder (Kingma and Welling 2014), whatever its encoder and decoder are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["drawn", "evidence_terms"]


def drawn(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One draw of each code `(n, features)` from its normal law; from the global generator where none is given."""
    return mean + torch.randn(mean.shape, generator=generator) * (0.5 * log_variance).exp()


def evidence_terms(
    pictures: Tensor,
    law: tuple[Tensor, Tensor],
    decode: Callable[[Tensor], Tensor],
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """What the bound is made of, for each picture of `(n, c, h, w)`.

    Args:
        law: mean and log variance of the codes, `(n, features)` each.
        decode: codes to pictures.
        generator: of the draw.

    Returns:
        The squared error of the picture that one draw of the code is decoded to, and the divergence of the code's law
        from the standard normal in nats; `(n,)` both.
    """
    mean, log_variance = law
    error = (decode(drawn(mean, log_variance, generator)) - pictures).square().sum(dim=(1, 2, 3))
    return error, 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
