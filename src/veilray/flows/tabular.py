"""A conditional coupling flow on the rows of a table: real numbers to independent standard normals, and back.

References:
    Density estimation using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017).
    Guided Image Generation with Conditional Invertible Neural Networks (Ardizzone et al., 2019): the condition as
    an input of every coupling net.
    Content-Aware Differential Privacy with Conditional Invertible Neural Networks (Toelle et al., 2022): the layout
    for tables, couplings of width 128 with fixed permutations between them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from veilray.flows.condition import Condition, ConditionConfig
from veilray.flows.layers.coupling import INPUT_BOUND
from veilray.flows.layers.whitening import Whitening

__all__ = ["RowCoupling", "TabularConfig", "TabularFlow"]

CONDITION_BOUND = 10.0
"""Continuous conditions are clamped to +-10. They should be of order 1; the clamp keeps a foreign one finite."""

ROW_BOUND = 1e6
"""`encode` and `decode` clamp what they are given to +-1e6: far outside data and noise, and small enough that the
couplings cannot take it out of float32."""

CHUNK = 8192
"""Rows that `encode` and `decode` pass through the nets at once."""


_MOST = {"dimension": 2**20, "couplings": 256, "width": 8192}
"""Far above what was ever trained: beyond it a flow cannot be built, let alone trained."""


@dataclass(frozen=True)
class TabularConfig:
    """The shape of a `TabularFlow`.

    Args:
        dimension: numbers a row.
        couplings: number of couplings.
        width: hidden units of each of the two hidden layers of a coupling net.
        clamp: a coupling multiplies no number by more than e^clamp, nor by less than e^-clamp.

    Raises:
        ValueError: when a value is outside its range.
    """

    dimension: int
    couplings: int = 8
    width: int = 128
    clamp: float = 2.0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} must be a whole number from 1 to {most:,}, got {value!r}")
        if isinstance(self.clamp, bool) or not isinstance(self.clamp, int | float) or not 0 < self.clamp <= 5:
            raise ValueError(f"clamp must be above 0 and at most 5, got {self.clamp!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> TabularConfig:
        """Return the configuration that `to_dict` described.

        Raises:
            TypeError: when a field is missing or foreign.
            ValueError: when a value is outside its range.
        """
        return cls(**fields)


class RowCoupling(nn.Module):
    """Permute the d numbers of a row, keep the first half, and move the others: y_b = x_b scale + shift.

    Scale and shift are what a net of two hidden layers makes of the half that is kept, clamped to +-`INPUT_BOUND`,
    and of the condition. The log scale is clamp x tanh(raw / clamp). The net's last layer starts at zero, so the
    coupling starts as a permutation.

    Args:
        permutation: `(d,)`, where each number comes from.
        told: numbers of the encoded condition.
        width: hidden units.
        clamp: bound of the log scale.
        generator: of the first weights.
    """

    permutation: Tensor

    def __init__(self, permutation: Tensor, told: int, width: int, clamp: float, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("permutation", permutation.clone())
        self.kept, self.clamp = len(permutation) // 2, clamp
        moved = len(permutation) - self.kept
        # A net that is told nothing at all, of rows of one number, reads a constant.
        self.constant = self.kept + told == 0
        inputs = self.kept + told + self.constant
        self.net = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * moved)
        )
        with torch.no_grad():
            for layer in (self.net[0], self.net[2]):
                assert isinstance(layer, nn.Linear)
                layer.weight.normal_(0.0, 1 / math.sqrt(layer.in_features), generator=generator)
                layer.bias.zero_()
            last = self.net[4]
            assert isinstance(last, nn.Linear)
            last.weight.zero_()
            last.bias.zero_()

    def forward(self, x: Tensor, told: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return y `(n, d)` and the log-determinant `(n,)` in nats."""
        x = x[:, self.permutation]
        kept, moved = x[:, : self.kept], x[:, self.kept :]
        shift, log_scale = self._steer(kept, told)
        return torch.cat((kept, moved * log_scale.exp() + shift), dim=1), log_scale.sum(dim=1)

    def inverse(self, y: Tensor, told: Tensor | None) -> Tensor:
        """Return x: the net runs forward here too, for what it reads was kept."""
        kept, moved = y[:, : self.kept], y[:, self.kept :]
        shift, log_scale = self._steer(kept, told)
        return torch.cat((kept, (moved - shift) * (-log_scale).exp()), dim=1)[:, self.permutation.argsort()]

    def _steer(self, kept: Tensor, told: Tensor | None) -> tuple[Tensor, Tensor]:
        read = kept.clamp(-INPUT_BOUND, INPUT_BOUND)
        if told is not None:
            read = torch.cat((read, told), dim=1)
        if self.constant:
            read = read.new_ones(len(kept), 1)
        shift, raw = self.net(read).chunk(2, dim=1)
        return shift, self.clamp * torch.tanh(raw / self.clamp)


class TabularFlow(nn.Module):
    """An invertible map of rows of d real numbers, each of about N(0, 1), under a condition or without.

    The latent has the fixed prior N(0, I), whatever the condition. No row depends on another. Of a
    `ConditionConfig` this flow reads the values and the levels; its `embedding` and `maps` are for images.

    Every method takes the `Condition`, one row a row. None stands for a condition of which nothing is known.

    Raises:
        ValueError: by every method, when rows are not `(n, d)`, or the condition is not of the kind or the number
            of rows it must be.

    Example:
        >>> flow = TabularFlow(TabularConfig(dimension=3, couplings=2, width=8), ConditionConfig(0, (2,)))
        >>> rows = np.random.default_rng(0).normal(size=(4, 3))
        >>> diagnosis = Condition.of(categorical=[0, 1, 1, -1])
        >>> bool(np.allclose(flow.decode(flow.encode(rows, diagnosis), diagnosis), rows, atol=1e-5))
        True
    """

    couplings: nn.ModuleList

    def __init__(self, config: TabularConfig, conditions: ConditionConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config, self.conditions = config, conditions
        generator = torch.Generator().manual_seed(seed)
        told = 0 if conditions is None else conditions.features
        self.whitening = Whitening(config.dimension, told)
        self.couplings = nn.ModuleList(
            RowCoupling(permutation, told, config.width, config.clamp, generator)
            for permutation in _permutations(config, generator)
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """Return what stands between the brackets of repr()."""
        given = {} if self.conditions is None else self.conditions.to_dict()
        return ", ".join(f"{name}={value}" for name, value in (self.config.to_dict() | given).items())

    def initialise(self, rows: NDArray[np.float64], condition: Condition | None = None) -> None:
        """Set the first layer from public rows `(n, d)` and their conditions; see `Whitening`."""
        x = torch.from_numpy(rows).to(self.device, self.dtype)
        untold = None if self.conditions is None else self._told(x[:1], self.conditions.missing(1))
        self.whitening.set_from(x, self._told(x, condition), untold)

    # Tensors, differentiable both ways.

    def forward(self, rows: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        """Return the latent `(n, d)` of rows `(n, d)`, and log |det dz/dx| `(n,)` in nats."""
        told = self._told(rows, condition)
        rows, total = self.whitening(rows, told)
        for coupling in self.couplings:
            rows, log_abs_det = coupling(rows, told)
            total = total + log_abs_det
        return rows, total

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Return the rows `(n, d)` of latents `(n, d)`; differentiable in them and in the continuous conditions."""
        told = self._told(z, condition)
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, RowCoupling)
            z = coupling.inverse(z, told)
        return self.whitening.inverse(z, told)

    def log_prob(self, rows: Tensor, condition: Condition | None = None) -> Tensor:
        """Return the log-density `(n,)` of the rows, in nats."""
        z, log_abs_det = self(rows, condition)
        density: Tensor = log_abs_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)
        return density

    def loss(self, rows: Tensor, condition: Condition | None = None) -> Tensor:
        """Return bits per dimension `(n,)`, -log2 of the density over d: what training lowers."""
        return self.log_prob(rows, condition) / (-math.log(2) * self.config.dimension)

    # Arrays, as a release needs them.

    def encode(self, rows: NDArray[np.float64], condition: Condition | None = None) -> NDArray[np.float64]:
        """Return the latents `(n, d)`, float64, of rows `(n, d)`: deterministic, row by row.

        Rows are clamped to +-1e6 first, so that every finite row has a finite latent.

        Raises:
            ValueError: when a number is not finite.
        """
        return self._pass(rows, condition, inverse=False)

    def decode(self, z: NDArray[np.float64], condition: Condition | None = None) -> NDArray[np.float64]:
        """Return the rows `(n, d)`, float64 and finite, of any finite latents, clamped to +-1e6 first.

        Raises:
            ValueError: when a number is not finite.
        """
        return self._pass(z, condition, inverse=True)

    @torch.no_grad()
    def _pass(self, given: NDArray[np.float64], condition: Condition | None, *, inverse: bool) -> NDArray[np.float64]:
        if not np.isfinite(given).all():
            raise ValueError(f"{'latents' if inverse else 'rows'} must be finite, got NaN or infinite numbers")
        bounded = torch.from_numpy(np.clip(given, -ROW_BOUND, ROW_BOUND)).to(self.device, self.dtype)
        if condition is not None and len(condition) != len(bounded):
            raise ValueError(f"a condition must be one row a row, {len(bounded)}, got {len(condition)}")
        result = np.empty(bounded.shape)
        for start in range(0, len(bounded), CHUNK):
            rows = slice(start, start + CHUNK)
            told = None if condition is None else condition[rows]
            made = self.inverse(bounded[rows], told) if inverse else self(bounded[rows], told)[0]
            result[rows] = made.cpu().double().numpy()
        return result

    def _told(self, rows: Tensor, condition: Condition | None) -> Tensor | None:
        """Check both; return the encoded condition `(n, features)`, or None for a flow that takes none."""
        if rows.ndim != 2 or rows.shape[1] != self.config.dimension:
            raise ValueError(f"rows must be (n, {self.config.dimension}), got {tuple(rows.shape)}")
        if self.conditions is None:
            if condition is not None:
                raise ValueError("condition must be None for a flow that takes none, got one")
            return None
        given = self.conditions.missing(len(rows)) if condition is None else condition
        self.conditions.check(given, len(rows))
        encoded = self.conditions.encode(given.to(rows.device, rows.dtype))
        return encoded.clamp(-CONDITION_BOUND, CONDITION_BOUND)


def _permutations(config: TabularConfig, generator: torch.Generator) -> list[Tensor]:
    """Draw a permutation for every coupling; every second one only exchanges the halves, so all numbers move."""
    half = config.dimension // 2
    exchange = torch.cat((torch.arange(half, config.dimension), torch.arange(half)))
    return [
        exchange if index % 2 else torch.randperm(config.dimension, generator=generator)
        for index in range(config.couplings)
    ]
