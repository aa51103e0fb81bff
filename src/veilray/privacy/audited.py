"""What the audit certified of each variant's claim, for the card; measured by `python studies/audit.py`.

An audit refutes claims, it cannot prove one: the proof stands in the mechanism's file. What it certifies is how much
of the claim an attacker in full knowledge of the mechanism really reaches, as a lower bound at 99 %. It speaks of the
build that was run: this mechanism, with this bound and this form, on rows of this length. So the table is keyed by all
of them, and a variant that is not in it was not audited.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from veilray.privacy.guarantee import Guarantee

__all__ = ["AUDITED", "Audited", "Variant", "audited_as", "size_class", "variant_of"]

_LARGEST_OF_CLASS = (1, 8, 64, 1024)


@dataclass(frozen=True)
class Variant:
    """What decides which code draws a release, and against what.

    Attributes:
        mechanism: the registered name.
        unit: what epsilon is about.
        bound: kind of the bound.
        form: of a directional release, `gaussian` or `sphere`.
        of: what releases each block of a blockwise release, with its bound or form, such as `laplace, box`.
    """

    mechanism: str
    unit: str
    bound: str
    form: str = ""
    of: str = ""


@dataclass(frozen=True)
class Audited:
    """The smallest certified share of `figure` over epsilon 0.5, 1, 2 and 4, and on what it was measured.

    Attributes:
        share: of the claim, exact, rounded down from what was certified.
        trials: of each side of the worst pair of inputs that were asked for.
        dimension: elements of the audited rows.
        figure: `epsilon`, or `mu` of Gaussian noise.
        note: options that the audit fixed and that are none of the variant's, in words; empty for the default ones.
    """

    share: Fraction
    trials: int
    dimension: int
    figure: str = "epsilon"
    note: str = ""


def variant_of(guarantee: Guarantee) -> Variant:
    """The variant that a claim is of, from its public fields."""
    parameters = guarantee.parameters
    of = ""
    if guarantee.bound.kind == "blocks":
        told = next((text for name, text in parameters.items() if name.startswith("block ") and ";" in text), "")
        inner = dict(part.partition(" ")[::2] for part in told.split("; "))
        kind = inner.get("bound") or inner.get("form")
        of = parameters.get("of", "") + (f", {kind}" if kind else "")
    return Variant(guarantee.mechanism, guarantee.unit, guarantee.bound.kind, parameters.get("form", ""), of)


def size_class(dimension: int) -> int | None:
    """Largest dimension of the class that rows of this length are in; None above the classes.

    Classes end at 1, 8, 64 and 1,024 elements, so that rows of one class differ in length by less than an order of
    magnitude. With the length grow the scale of the noise of a whole row, the digits of its sampler, the number of
    blocks, and whether a row is drawn at once or in parts: an audit of 8 elements runs none of what 784 take. Within a
    class the card still states both lengths, since what was measured is the one that was audited.
    """
    return next((largest for largest in _LARGEST_OF_CLASS if dimension <= largest), None)


def audited_as(guarantee: Guarantee) -> Audited | None:
    """What was measured of this variant at this length of rows; None where nothing was."""
    largest = size_class(guarantee.dimension)
    return None if largest is None else AUDITED.get((variant_of(guarantee), largest))


AUDITED: dict[tuple[Variant, int], Audited] = {
    (Variant("laplace", "element", "box"), 8): Audited(Fraction("0.963"), 1_000_000, 8),
    (Variant("directional", "image", "direction", "gaussian"), 8): Audited(Fraction("0.990"), 1_000_000, 8),
    (Variant("codebook", "image", "index"), 8): Audited(Fraction("0.985"), 1_000_000, 8),
    (Variant("randomised_response", "image", "none"), 1): Audited(
        Fraction("0.993"), 1_000_000, 1, note="two levels a cell"
    ),
    (Variant("gaussian", "image", "l2-ball"), 8): Audited(Fraction("0.959"), 1_000_000, 8, figure="mu"),
    (Variant("selection", "image", "index"), 8): Audited(Fraction("0.986"), 1_000_000, 8, note="64 candidates"),
    (Variant("blockwise", "image", "blocks", of="directional, gaussian"), 8): Audited(
        Fraction("0.981"), 1_000_000, 8, note="three blocks of which one has no share"
    ),
    (Variant("laplace", "image", "box"), 8): Audited(Fraction("0.879"), 400_000, 8),
    (Variant("laplace", "image", "l1-ball"), 8): Audited(Fraction("0.849"), 400_000, 8),
    (Variant("laplace", "element", "box"), 1024): Audited(Fraction("0.337"), 20_000, 784),
    (Variant("gaussian", "image", "box"), 8): Audited(Fraction("0.917"), 400_000, 8, figure="mu"),
    (Variant("gaussian", "element", "box"), 8): Audited(Fraction("0.924"), 400_000, 8, figure="mu"),
    (Variant("gaussian", "image", "l2-ball"), 1024): Audited(Fraction("0.808"), 20_000, 784, figure="mu"),
    (Variant("directional", "image", "direction", "sphere"), 8): Audited(Fraction("0.991"), 400_000, 8),
    (Variant("directional", "image", "direction", "gaussian"), 64): Audited(Fraction("0.982"), 100_000, 64),
    (Variant("directional", "image", "direction", "gaussian"), 1024): Audited(Fraction("0.945"), 20_000, 784),
    (Variant("randomised_response", "element", "none"), 8): Audited(
        Fraction("0.934"), 400_000, 8, note="five levels a cell"
    ),
    (Variant("blockwise", "image", "blocks", of="directional, sphere"), 8): Audited(
        Fraction("0.960"), 400_000, 8, note="three blocks of which one has no share"
    ),
    (Variant("blockwise", "image", "blocks", of="laplace, box"), 8): Audited(
        Fraction("0.844"), 400_000, 8, note="three blocks of which one has no share"
    ),
    (Variant("blockwise", "image", "blocks", of="gaussian, l2-ball"), 8): Audited(
        Fraction("0.732"), 400_000, 8, figure="mu", note="three blocks of which one has no share"
    ),
    (Variant("blockwise", "image", "blocks", of="codebook"), 8): Audited(
        Fraction("0.979"), 400_000, 8, note="three blocks of which one has no share"
    ),
    (Variant("blockwise", "image", "blocks", of="selection"), 8): Audited(
        Fraction("0.986"), 400_000, 8, note="three blocks of which one has no share and 64 candidates"
    ),
    (Variant("blockwise", "image", "blocks", of="directional, gaussian"), 64): Audited(
        Fraction("0.951"), 100_000, 64, note="three blocks of which one has no share"
    ),
}
"""By variant and size class. From `docs/data/audit.csv`, rounded down; a test compares the two."""
