"""The contract of a mechanism: bound a latent, randomise it, state the claim, and say how likely an output is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from veilray.privacy.bounds import Floats, Integers, finite_rows
from veilray.privacy.entropy import Entropy
from veilray.privacy.exact import ExactLike, exact
from veilray.privacy.guarantee import Guarantee
from veilray.registry import Registry

__all__ = ["MECHANISMS", "Claim", "Floats", "Integers", "Mechanism", "finite_rows", "whole_options"]


@dataclass(frozen=True)
class Claim:
    """What the user asks for: epsilon and delta for one unit, `image` or `element`.

    Raises:
        ValueError: for an epsilon that is not an exact positive number, a delta outside [0, 1), another unit.
    """

    epsilon: Fraction
    delta: Fraction = Fraction(0)
    unit: Literal["image", "element"] = "image"

    def __post_init__(self) -> None:
        if self.unit not in ("image", "element"):
            raise ValueError(f"unit must be image or element, got {self.unit!r}")
        object.__setattr__(self, "epsilon", exact(self.epsilon, "epsilon"))  # refuses floats here too
        object.__setattr__(self, "delta", exact(self.delta, "delta"))
        if self.epsilon <= 0:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")
        if not 0 <= self.delta < 1:
            raise ValueError(f"delta must be in [0, 1), got {self.delta}")

    @classmethod
    def of(cls, epsilon: ExactLike, delta: ExactLike = 0, unit: Literal["image", "element"] = "image") -> Claim:
        """A claim from decimal strings or fractions; floats are refused."""
        return cls(exact(epsilon, "epsilon"), exact(delta, "delta"), unit)


class Mechanism(ABC):
    """Randomises bounded latents. Arrays are `(n, d)`; one row is one image; no row ever depends on another.

    A mechanism is frozen once calibrated: for one claim, one dimension, one bound. The three steps are apart so
    that each can be tested and audited: `bound` is deterministic, `randomise` alone draws, and
    `log_likelihood` is the density that the closed-form attacks and the audit share.
    """

    name: ClassVar[str]
    wants_candidates: ClassVar[bool] = False
    """True when `calibrate` needs `candidates`, whatever its other options; see `needs_candidates`."""

    @classmethod
    def needs_candidates(cls, options: Mapping[str, Any]) -> bool:
        """Whether `calibrate` with these options needs the option `candidates` too: a public `(N, dimension)` list
        drawn without looking at a record."""
        return cls.wants_candidates

    @classmethod
    @abstractmethod
    def calibrate(cls, claim: Claim, dimension: int, **options: Any) -> Mechanism:
        """The mechanism that keeps `claim` for rows of `dimension` elements.

        `options` are the mechanism's own public parameters (such as `clip`); each has a default that is fixed
        without looking at any record. Raises ValueError for a claim it cannot keep (a pure mechanism asked for
        a delta, say).
        """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Elements of a row."""

    @property
    def candidates(self) -> Floats | None:
        """The public list that was given to `calibrate`, `(N, d)`; None for a mechanism that chooses among none."""
        return None

    @abstractmethod
    def bound(self, latent: Floats) -> NDArray[Any]:
        """Force each row of `(n, d)` float64 into the public bound. A zero or non-finite row is no error: it
        becomes a fixed public vector and is released like any other (a refusal would tell)."""

    @abstractmethod
    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """Draw one release for each bounded row: `(n, d)` float64, in the latent's units."""

    @abstractmethod
    def guarantee(self, dimension: int) -> Guarantee:
        """The claim for rows of `dimension` elements. Raises ValueError for another dimension."""

    @abstractmethod
    def log_likelihood(self, released: Floats, latent: Floats) -> Floats:
        """log Pr[row of `released` | row of `latent`], `(n,)` float64, up to a term that depends on neither
        the latent nor the row; in nats. `latent` is not yet bounded: the mechanism bounds it, as it does before
        noise. `released` or `latent` may have one row, which is then repeated."""

    @abstractmethod
    def to_prior(self, released: Floats) -> Floats:
        """The decode map: released rows brought back to the N(0, I) law that the decoder was trained on.

        Post-processing, so it costs nothing; without it the decoder is asked about latents it never saw.
        """

    def to_prior_law(self, released: Floats) -> Floats:
        """As `to_prior`, and where it can be had in closed form: exactly N(0, I) for a source of N(0, I).

        For a decoder that was trained on the prior alone and never saw this mechanism's output. Post-processing.
        """
        return self.to_prior(released)

    def release(self, latent: Floats, entropy: Entropy) -> Floats:
        """Bound and randomise in one call; what a pipeline does with each chunk of rows."""
        return self.randomise(self.bound(latent), entropy)

    def _check_dimension(self, dimension: int) -> None:
        if dimension != self.dimension:
            raise ValueError(f"dimension must be {self.dimension}, as calibrated, got {dimension}")

    def _check_rows(self, rows: NDArray[Any]) -> None:
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"latent must be (n, {self.dimension}), got shape {rows.shape}")


def whole_options(options: dict[str, Any], *names: str) -> list[int | None]:
    """Take whole-number options out of `options`, None where one is absent; text such as "2" is read as a number.

    Raises:
        ValueError: for anything else than a whole number.
    """
    found: list[int | None] = []
    for name in names:
        value = options.pop(name, None)
        try:
            number = None if value is None else int(str(value))
        except ValueError:
            raise ValueError(f"{name} must be a whole number, got {value!r}") from None
        found.append(number)
    return found


MECHANISMS: Registry[type[Mechanism]] = Registry("mechanism")
