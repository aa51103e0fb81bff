"""Blockwise release: consecutive public blocks of a row, each with a share of epsilon and a mechanism of its own.

**Claim.** Block b of a record x, x_b, is released as z_b by its own instance A_b of one registered mechanism,
calibrated for (eps_b, delta_b). A block of share 0 is not released at all: z_b is drawn from the prior N(0, I). Sizes
and shares are public and fixed before any record is seen, eps_b sum to epsilon exactly, and delta_b = delta eps_b /
epsilon, so they sum to delta exactly. Then z is (epsilon, delta)-private for the whole row.

**Proof.** Every block reads words of the keystream that no other block reads (`Entropy.branches`), so given x the z_b
are independent. For delta = 0, whatever records x, x' and output z,

    Pr[z | x] / Pr[z | x'] = prod_b Pr[A_b(x_b) = z_b] / Pr[A_b(x'_b) = z_b] <= prod_b e^eps_b = e^epsilon,

each factor by the proof in A_b's own file; the factor of a block of share 0 is 1, as its law knows no x. For delta > 0
it is basic composition: epsilons add and deltas add (Dwork, Kenthapadi, McSherry, Mironov and Naor 2006). Gaussian
blocks are told apart as N(0, 1) and N(mu, 1) with mu^2 = sum_b mu_b^2 (Dong, Roth and Su 2022), which is stated too.

x_b need not be the plain slice of x, only a function of x that is applied before the draw. So a row with a non-finite
element may become the zero row in all its blocks, as in every other mechanism.

**What must never happen**: a block of share 0 that is passed through. "Left untouched" is the whole block in clear, and
epsilon is infinite. (In the published code of Toelle et al. 2022 some dimensions are.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.calibration import round_up
from veilray.privacy.entropy import Entropy
from veilray.privacy.guarantee import Bound, Guarantee
from veilray.privacy.mechanisms.base import MECHANISMS, Claim, Floats, Mechanism, finite_rows
from veilray.privacy.mechanisms.codebook import Codebook
from veilray.privacy.mechanisms.directional import Directional
from veilray.privacy.mechanisms.gaussian import Gaussian
from veilray.privacy.mechanisms.grid import GridMechanism
from veilray.privacy.mechanisms.laplace import Laplace
from veilray.privacy.mechanisms.selection import Selection
from veilray.privacy.partition import read_shares, read_sizes
from veilray.privacy.samplers.normal import normals

__all__ = ["Block", "Blockwise"]

_OF: dict[str, type[Mechanism]] = {kind.name: kind for kind in (Directional, Laplace, Gaussian, Codebook, Selection)}
_SHORT = 256
"""Bits of a stated mu^2."""


@dataclass(frozen=True)
class Block:
    """Elements `start` to `stop` of a row, their share of epsilon, and what releases them: None where the share is 0
    and they are drawn from the prior."""

    start: int
    stop: int
    share: Fraction
    mechanism: Mechanism | None

    def of(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The block's columns of `(n, d)` rows."""
        return rows[:, self.start : self.stop]


@MECHANISMS.register("blockwise")
class Blockwise(Mechanism):
    """Release blocks of a row, each by a mechanism and with a share of its own; make one with `calibrate`.

    Example:
        >>> mechanism = Blockwise.calibrate(Claim.of(4), 64, sizes="4,12,48", shares="3,1,0")
        >>> [block.mechanism is None for block in mechanism.blocks]
        [False, False, True]
    """

    name: ClassVar[str] = "blockwise"

    def __init__(self, claim: Claim, of: str, blocks: tuple[Block, ...], candidates: Floats | None = None) -> None:
        self._claim = claim
        self._of = of
        self._blocks = blocks
        self._candidates = candidates

    @classmethod
    def needs_candidates(cls, options: Mapping[str, Any]) -> bool:
        """Only blocks of `selection` choose among candidates."""
        return options.get("of") == Selection.name

    @classmethod
    def calibrate(cls, claim: Claim, dimension: int, **options: Any) -> Blockwise:
        """The mechanism for rows of `dimension` elements.

        Options:
            of: the mechanism of each block: `directional` (default), `laplace`, `gaussian`, `codebook` or `selection`.
            sizes: the elements of each block: whole numbers that sum to the dimension, as text such as "4,12,48" or as
                a sequence. Required.
            shares: the epsilon of each block: exact numbers of 0 or more that sum to epsilon exactly, as text such as
                "3,1,0" or as a sequence; by default equal. A block of share 0 is drawn from the prior. Like the sizes
                they are part of the public claim: choose them on public data.
            candidates: for `selection`, the public `(N, dimension)` list; each block chooses among its own columns.
            All others go to the mechanism of each block.

        Raises:
            ValueError: for a unit other than image, sizes or shares that do not add up, and whatever a block's
                mechanism refuses (a delta, for a pure one); the message names the block.
        """
        of, given, split = options.pop("of", Directional.name), options.pop("sizes", None), options.pop("shares", None)
        if of not in _OF:
            raise ValueError(f"of must be one of {', '.join(_OF)}, got {of!r}")
        if claim.unit != "image":
            raise ValueError(f"unit must be image for blockwise, got {claim.unit}: a block has a share of the image's")
        if given is None:
            raise ValueError(f"sizes must be the elements of each block, such as 4,12 for 16, got none for {dimension}")
        sizes = read_sizes(given, dimension)
        shares = read_shares(split, claim.epsilon, len(sizes))
        listed = options.pop("candidates", None) if of == Selection.name else None
        candidates = None if listed is None else _listed(listed, dimension)
        blocks: list[Block] = []
        for (start, stop), share in zip(pairwise(accumulate(sizes, initial=0)), shares, strict=True):
            own = dict(options) if candidates is None else {**options, "candidates": candidates[:, start:stop]}
            part = Claim(share, claim.delta * share / claim.epsilon) if share else None
            try:
                mechanism = None if part is None else _OF[of].calibrate(part, stop - start, **own)
            except ValueError as error:
                raise ValueError(f"block {len(blocks) + 1} of {len(sizes)}: {error}") from None
            blocks.append(Block(start, stop, share, mechanism))
        return cls(claim, of, tuple(blocks), candidates)

    @property
    def dimension(self) -> int:
        return self._blocks[-1].stop

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in their order."""
        return self._blocks

    @property
    def candidates(self) -> Floats | None:
        return self._candidates

    def bound(self, latent: Floats) -> Floats:
        """What each block's mechanism bounds it to, side by side: `(n, d)` float64; zeros where the share is 0. A row
        with a non-finite element is bounded as the zero row, in every block.

        Grid integers are exact here, as they stay below 2^53. Laplace: a sampler of J <= 51 digits has 2C < 2^(J-1), so
        C < 2^49. Gaussian: an L2 ball has F < 2^30, as F^2 must fit. Of a box s = 2 C sqrt(d) / mu <= 2^36, so
        C <= 2^35 mu, and mu < 2^15.5 for every epsilon up to 10^9 that is calibrated: C < 2^50.5.
        """
        self._check_rows(latent)
        rows = finite_rows(latent)
        out = np.zeros_like(rows)
        for block in self._blocks:
            if block.mechanism is not None:
                block.of(out)[:] = block.mechanism.bound(block.of(rows))
        return out

    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """One release of each row, `(n, d)` float64: every block from a branch of `entropy` that no other reads."""
        self._check_rows(bounded)
        rows = finite_rows(bounded)
        out = np.empty_like(rows)
        for block, own in zip(self._blocks, entropy.branches(len(self._blocks)), strict=True):
            mine = block.of(rows)
            if block.mechanism is None:
                block.of(out)[:] = normals(own.words(mine.shape, np.uint64))
            else:
                whole = isinstance(block.mechanism, GridMechanism)
                block.of(out)[:] = block.mechanism.randomise(mine.astype(np.int64) if whole else mine, own)
        return out

    def guarantee(self, dimension: int) -> Guarantee:
        self._check_dimension(dimension)
        parameters = {
            "of": self._of,
            "sizes": " ".join(str(block.stop - block.start) for block in self._blocks),
            "shares": " ".join(str(block.share) for block in self._blocks),
        }
        if self._claim.delta:
            parameters["mu_squared"] = str(self.mu_squared)
        for number, block in enumerate(self._blocks, start=1):
            parameters[f"block {number}"] = _told(block)
        return Guarantee(
            unit="image",
            epsilon=self._claim.epsilon,
            delta=self._claim.delta,
            image_epsilon=self._claim.epsilon,
            image_delta=self._claim.delta,
            bound=Bound(kind="blocks"),
            dimension=dimension,
            mechanism=self.name,
            parameters=parameters,
        )

    @property
    def mu_squared(self) -> Fraction:
        """mu^2 of the whole image where the blocks are gaussian, the sum over blocks; else 0. Exact for one block, else
        rounded up by less than one part in 2^255, so that it stays short."""
        inner = (block.mechanism for block in self._blocks)
        squares = [one.mu_squared for one in inner if isinstance(one, Gaussian)]
        return squares[0] if len(squares) == 1 else round_up(sum(squares, Fraction(0)), _SHORT)

    def log_likelihood(self, released: Floats, latent: Floats) -> Floats:
        """The sum of the blocks' own, `(n,)`, nats. A block of share 0 adds its log density relative to the prior, from
        which it is drawn: 0 for every release and every latent. Raises as the blocks' mechanism does."""
        self._check_rows(released)
        self._check_rows(latent)
        rows = finite_rows(latent)
        total = np.zeros(max(len(released), len(rows)))
        for block in self._blocks:
            if block.mechanism is not None:
                total += block.mechanism.log_likelihood(block.of(released), block.of(rows))
        return total

    def to_prior(self, released: Floats) -> Floats:
        """Each block brought back by its own mechanism; one of share 0 is a draw of the prior already."""
        return self._brought_back(released, lambda mechanism, rows: mechanism.to_prior(rows))

    def to_prior_law(self, released: Floats) -> Floats:
        """As `to_prior`, by the same of each block's mechanism."""
        return self._brought_back(released, lambda mechanism, rows: mechanism.to_prior_law(rows))

    def _brought_back(self, released: Floats, bring: Callable[[Mechanism, Floats], Floats]) -> Floats:
        self._check_rows(released)
        out = np.array(released, dtype=np.float64)
        for block in self._blocks:
            if block.mechanism is not None:
                block.of(out)[:] = bring(block.mechanism, block.of(released))
        return out


def _listed(candidates: Any, dimension: int) -> Floats:
    """The whole public list, read-only; each block's own checks are its mechanism's."""
    rows = np.array(candidates, dtype=np.float64, order="C")
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise ValueError(f"candidates must be (N, {dimension}), got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("candidates must be finite, got other values")
    rows.setflags(write=False)
    return rows


def _told(block: Block) -> str:
    """A block's mechanism in readable text: every public parameter of it."""
    if block.mechanism is None:
        return "drawn from N(0, I), whatever the record"
    inner = block.mechanism.guarantee(block.stop - block.start)
    delta = {"delta": str(inner.delta)} if inner.delta else {}
    told = {"epsilon": str(inner.epsilon), **delta, **inner.parameters}
    return "; ".join(f"{name} {value}" for name, value in told.items())
