"""The first layer of a flow of rows: what a Gaussian with the condition's mean explains is taken out at once.

y = W (x - c - B e), with e the encoded condition, c + B e its linear prediction of x, and W the inverse Cholesky root
of the covariance of what is left. With some hundred rows a coupling flow alone does not find the means and correlations
that a linear fit finds at once; so it starts from there and learns what is not linear.

References:
    A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices (Ledoit and Wolf, 2004): the shrinkage.
    Glow (Kingma and Dhariwal, 2018): layers that are set from data once, as its ActNorm is.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

__all__ = ["Whitening"]

_RIDGE = 1.0
"""Of the linear prediction, in rows: a level that few rows have moves the mean a little only."""


class Whitening(nn.Module):
    """A fixed affine map of rows under a condition; the identity until it is set.

    Args:
        dimension: d, numbers a row.
        told: numbers of the encoded condition, 0 for none.
    """

    constant: Tensor
    shift: Tensor
    mix: Tensor
    unmix: Tensor

    def __init__(self, dimension: int, told: int) -> None:
        super().__init__()
        self.register_buffer("constant", torch.zeros(dimension))
        self.register_buffer("shift", torch.zeros(told, dimension))
        self.register_buffer("mix", torch.eye(dimension))
        self.register_buffer("unmix", torch.eye(dimension))

    @torch.no_grad()
    def set_from(self, rows: Tensor, told: Tensor | None, untold: Tensor | None) -> None:
        """Set the layer from public rows `(n, d)`.

        Args:
            told: `(n, features)`, their encoded conditions; `untold`: the encoding of a condition that is not known,
                `(1, features)`, whose mean is that of all rows. None for a flow without conditions.

        Raises:
            ValueError: for fewer than 2 rows.
        """
        if len(rows) < 2:
            raise ValueError(f"rows must be 2 or more, got {len(rows)}")
        x = rows.double().cpu().numpy()
        constant, shift = x.mean(axis=0), np.zeros((self.shift.shape[0], x.shape[1]))
        if told is not None and untold is not None:
            e = told.double().cpu().numpy()
            origin = untold.double().cpu().numpy()[0]
            away = e - origin
            gram = away.T @ away + _RIDGE * np.eye(len(origin))
            shift = np.linalg.solve(gram, away.T @ (x - constant))
            constant = constant - origin @ shift
            x = x - e @ shift
        covariance = LedoitWolf(assume_centered=True).fit(x - constant).covariance_
        root = np.linalg.cholesky(covariance + 1e-6 * np.eye(x.shape[1]))
        for buffer, value in (
            (self.constant, constant),
            (self.shift, shift),
            (self.mix, np.linalg.inv(root).T),
            (self.unmix, root.T),
        ):
            buffer.copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def forward(self, x: Tensor, told: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return y `(n, d)` and the log-determinant `(n,)` in nats."""
        log_abs_det = self.mix.diagonal().abs().log().sum()
        return (x - self._mean(told)) @ self.mix, log_abs_det.expand(len(x))

    def inverse(self, y: Tensor, told: Tensor | None) -> Tensor:
        """Return x."""
        return torch.as_tensor(y @ self.unmix + self._mean(told))

    def _mean(self, told: Tensor | None) -> Tensor:
        return self.constant if told is None else self.constant + told @ self.shift
