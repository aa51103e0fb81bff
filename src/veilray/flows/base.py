"""The contracts: what an encoder and what a flow is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

if TYPE_CHECKING:
    from veilray.flows.latent import Latent

__all__ = ["Encoder", "Flow", "Images", "Inverse"]

Images = Tensor | np.ndarray
"""Integer images, `(n, channels, height, width)`, uint8 up to 8 bits a pixel and uint16 above."""


@runtime_checkable
class Encoder(Protocol):
    """Integer images to a latent and back, row by row: no row ever depends on another.

    `encode` is a deterministic, public function of each image. `decode` returns integer images for every
    latent, whatever noise it carries.
    """

    def encode(self, images: Images) -> Latent:
        """Map `(n, c, h, w)` integer images to their latent."""
        ...

    def decode(self, latent: Latent) -> Tensor:
        """Map a latent to `(n, c, h, w)` integer images."""
        ...


class Flow(nn.Module, ABC):
    """An invertible map y = f(x) with the semantics of `torch.distributions.Transform`.

    `flow(x)` is y, `flow.inverse(y)` or `flow.inv(y)` is x, and `log_abs_det_jacobian(x, y)` is
    log |det dy/dx| in nats, one number a row. No state changes in any of them.
    """

    @abstractmethod
    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log |det dy/dx| `(n,)` in nats from one pass."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Return the x with f(x) = y."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y = f(x)."""
        return self.call_and_ladj(x)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log |det dy/dx| `(n,)` in nats at x; `y` is not needed, and taken for the contract's sake."""
        del y
        return self.call_and_ladj(x)[1]

    @property
    def inv(self) -> Inverse:
        """The inverse map, as a transform of its own."""
        return Inverse(self)


class Inverse:
    """The inverse of a flow: `inverse(y)` is x."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __call__(self, y: Tensor) -> Tensor:
        """Return the x with f(x) = y."""
        return self._flow.inverse(y)

    def log_abs_det_jacobian(self, y: Tensor, x: Tensor) -> Tensor:
        """Return log |det dx/dy| `(n,)` in nats."""
        return -self._flow.log_abs_det_jacobian(x, y)

    @property
    def inv(self) -> Flow:
        """The flow itself."""
        return self._flow

    def __repr__(self) -> str:
        return f"Inverse({self._flow!r})"
