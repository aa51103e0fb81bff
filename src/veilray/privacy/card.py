"""The guarantee card: the claim on one screen, in plain words. Terminal, README and HTML print these entries.

Every figure is rounded to the side that promises less: epsilon, delta, odds, nats and the probability of a true level
up, the share that an audit certified down. Bounds that are not fractions are enclosed first (`ceiling`).
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from fractions import Fraction

from veilray.privacy.audited import Audited, audited_as
from veilray.privacy.ceiling import reidentification_at_most
from veilray.privacy.composition import events_of, reported_epsilon, total_in_gdp
from veilray.privacy.exact import decimal_text, delta_text, lower_text
from veilray.privacy.guarantee import EMPIRICAL, Bound, ConditionPolicy, Guarantee

__all__ = ["CardEntry", "ReleaseOrigin", "card_entries", "card_text"]

READING_DELTA = Fraction(1, 10**6)
"""Delta of the (epsilon, delta) reading that the card shows beside the sum."""

_LARGEST_READ = Fraction(200)  # beyond, the reading takes seconds and protects nobody

_MECHANISM_WORDS = {
    "laplace": "Laplace noise on every latent coordinate, drawn on an integer grid",
    "gaussian": "Gaussian noise on every latent coordinate, drawn on an integer grid",
    "directional": "a random direction that leans towards the latent's own (PrivUnit), by fixed-length rejection",
    "codebook": "a random word of a public code book, more often one close to the latent",
    "selection": "one of a public list of candidates, more often one close to the record",
    "randomised_response": "the true category with a stated probability, otherwise another one",
    "blockwise": "public blocks of the latent, each with its share of epsilon, drawn from the prior where that is 0",
}


@dataclass(frozen=True)
class CardEntry:
    """One line of the card: a heading and what stands beside it. `warning` asks to be seen."""

    heading: str
    text: str
    warning: bool = False


@dataclass(frozen=True)
class ReleaseOrigin:
    """Which release a card is of: its identifier, day (ISO 8601) and software, and the model that made it."""

    identifier: str
    date: str
    software: str
    model: str
    method: str


def card_entries(guarantee: Guarantee | None, origin: ReleaseOrigin | None = None) -> list[CardEntry]:
    """The card's entries, most important first. Without a guarantee there is one: that there is none."""
    if guarantee is None:
        return [CardEntry("Claim", f"{EMPIRICAL}.", warning=True), *_limits()]
    entries = [CardEntry("Claim", _claim(guarantee)), CardEntry("In odds", _odds(guarantee))]
    if guarantee.protects_little:
        entries.append(
            CardEntry(
                "Warning",
                f"epsilon {decimal_text(guarantee.largest_epsilon)} for {_largest_unit(guarantee)}: at 10 or more "
                "the worst case protects no more. What still protects is only what was measured.",
                warning=True,
            )
        )
    entries.append(CardEntry("Other units", _other_units(guarantee)))
    if guarantee.pure:
        entries.append(CardEntry("Ceiling", _ceiling(guarantee)))
    entries.append(CardEntry("Mechanism", _mechanism(guarantee)))
    entries.append(CardEntry("Audited", _audited(guarantee)))
    if guarantee.conditions:
        entries.append(CardEntry("Conditions", _conditions(guarantee)))
    training = guarantee.model_training
    if training is not None:
        entries.append(CardEntry("Network trained on", f"{training.data}: {training.statement}"))
    most = None if guarantee.releases is None else guarantee.releases.images_per_patient
    if most is not None:
        entries.append(
            CardEntry(
                "Selection",
                f"at most {most} {guarantee.record}{'' if most == 1 else 's'} of a patient "
                f"{'was' if most == 1 else 'were'} taken, the first by the order of the manifest.",
            )
        )
    entries.append(CardEntry("Covered", _covered(guarantee)))
    entries.append(CardEntry("Not covered", "; ".join(guarantee.not_covered()) + "."))
    if origin is not None:
        made = f"{origin.identifier}, of {origin.date}, by {origin.software}"
        entries.append(CardEntry("Release", f"{made}; model {origin.model} ({origin.method})."))
    return [*entries, *_limits()]


def card_text(guarantee: Guarantee | None, origin: ReleaseOrigin | None = None, width: int = 100) -> str:
    """The card as plain text of at most `width` columns."""
    indent = " " * 20
    lines = [
        textwrap.fill(f"{entry.heading + ':':<20}{entry.text}", width, subsequent_indent=indent)
        for entry in card_entries(guarantee, origin)
    ]
    return "\n".join(lines) + "\n"


def _claim(guarantee: Guarantee) -> str:
    record = guarantee.record
    one = f"single {_element(guarantee)}"
    unit = {"image": f"whole {record}", "element": one}.get(guarantee.unit, guarantee.unit)
    whole = guarantee.unit == "image"
    figures = _figures(guarantee.total_image_epsilon if whole else guarantee.epsilon, guarantee.delta)
    figures += " (pure)" if guarantee.delta == 0 else ""
    if whole and guarantee.conditions_epsilon:
        figures += (
            f", of which {decimal_text(guarantee.image_epsilon)} for the {_shown(guarantee)} and "
            f"{decimal_text(guarantee.conditions_epsilon)} for its randomised conditions"
        )
    among = " that agrees on all that is released in clear" if guarantee.shows_in_clear else ""
    slip = "" if guarantee.delta == 0 else ", but for a chance of delta"
    given = ", given the network" if guarantee.network_may_know else ""
    said = f"local differential privacy for every {unit}{given}: {figures}. "
    if whole:
        said += (
            f"Whatever the {record} was, each possible output is as likely as for any other {record}{among}, within "
            f"that factor e^epsilon{slip}."
        )
    else:
        said += (
            f"This says nothing strong about the whole {record}, for which it comes to "
            f"{_figures(guarantee.total_image_epsilon, guarantee.image_delta)}."
        )
    return " ".join([said, *guarantee.network_sentences()])


def _figures(epsilon: Fraction, delta: Fraction) -> str:
    """Epsilon, and delta where there is one; both rounded up."""
    return f"epsilon {decimal_text(epsilon)}" + (f", delta {delta_text(delta)}" if delta else "")


def _odds(guarantee: Guarantee) -> str:
    sentence = guarantee.odds_sentence()
    releases = guarantee.releases
    if releases is None or guarantee.patient_epsilon is None or (releases.largest_patient or 0) < 2:
        return sentence
    together = reidentification_at_most(guarantee.patient_epsilon, 1000, guarantee.patient_delta or Fraction(0))
    among = ", alike in all that is released in clear" if guarantee.shows_in_clear else ""
    return (
        f"{sentence} Whoever joins all {releases.largest_patient} {guarantee.record}s of the worst patient gets at "
        f"most {decimal_text(100 * together, 3)} % among 1,000 equally likely patients with as many "
        f"{guarantee.record}s{among}."
    )


def _ceiling(guarantee: Guarantee) -> str:
    """Information alone: what a correlation may be depends on the law of the latents, which no claim knows."""
    nats = guarantee.ceiling() or Fraction(0)
    beyond = ", beyond what is released in clear" if guarantee.shows_in_clear else ""
    return (
        f"what is released of one {guarantee.record} carries at most {decimal_text(nats, 3)} nats of information about "
        f"it{beyond}. To name one of 1,000 for certain takes 6.91."
    )


def _audited(guarantee: Guarantee) -> str:
    """What was measured of this very variant, and what was not."""
    audited = audited_as(guarantee)
    shown = _shown(guarantee)
    if audited is None:
        known = guarantee.mechanism in _MECHANISM_WORDS
        where = f"in the package, veilray/privacy/mechanisms/{guarantee.mechanism}.py, and " if known else ""
        return (
            f"no. The mechanism of the {shown} was not audited by measurement in this variant; its proof stands {where}"
            "in the documentation under Derivations."
        )
    figure = "mu (how well Gaussian noise lets two records be told apart)" if audited.figure == "mu" else "epsilon"
    missing = [] if audited.dimension == guarantee.dimension else [_rows(guarantee.dimension, guarantee)]
    if not Fraction(1, 2) <= guarantee.epsilon <= 4:
        missing.append(f"epsilon {decimal_text(guarantee.epsilon)}")
    return (
        f"the mechanism of the {shown}, in this variant{_with(audited)}, on {_rows(audited.dimension, guarantee)} at "
        f"epsilon 0.5, 1, 2 and 4{' (delta 1e-5)' if audited.figure == 'mu' else ''}, with {audited.trials:,} trials a "
        "side: at least "
        f"{lower_text(100 * audited.share, 3)} % of the claimed {figure} was certified (at 99 %), and no test "
        "refuted it. Not audited: "
        f"{', '.join([*missing, 'this release itself'])}."
    )


def _with(audited: Audited) -> str:
    return f" with {audited.note}" if audited.note else " with its usual options"


def _rows(dimension: int, guarantee: Guarantee) -> str:
    """Rows of so many numbers, or of so many cells of a table of categories."""
    what = "cell" if guarantee.bound.kind == "none" else "number"
    return f"single {what}s" if dimension == 1 else f"rows of {dimension:,} {what}s"


def _largest_unit(guarantee: Guarantee) -> str:
    patient = guarantee.patient_epsilon
    return (
        "the worst patient" if patient and patient > guarantee.total_image_epsilon else f"the whole {guarantee.record}"
    )


def _other_units(guarantee: Guarantee) -> str:
    parts = [f"whole {guarantee.record} {_figures(guarantee.total_image_epsilon, guarantee.image_delta)}"]
    if guarantee.element_epsilon is not None:
        parts.append(f"one {_element(guarantee)} {_figures(guarantee.element_epsilon, guarantee.delta)}")
    releases = guarantee.releases
    if releases is not None and guarantee.patient_epsilon is not None and releases.largest_patient:
        images = f"{releases.largest_patient} {guarantee.record}{'' if releases.largest_patient == 1 else 's'}"
        figures = _figures(guarantee.patient_epsilon, guarantee.patient_delta or Fraction(0))
        parts.append(f"worst patient in this release alone ({images}) {figures}")
        parts += _readings(guarantee, releases.largest_patient)
    elif releases is not None:
        parts.append("worst patient unknown (no patient key)")
    return "; ".join(parts) + "."


def _readings(guarantee: Guarantee, images: int) -> list[str]:
    """The (epsilon, delta) reading of the worst patient, where it says less than the plain sum."""
    summed = guarantee.patient_epsilon
    if images < 2 or summed is None or summed > _LARGEST_READ:
        return []
    events = [replace(event, count=images) for event in events_of(guarantee)]
    read = min(Fraction(reported_epsilon(events, READING_DELTA)), total_in_gdp(events, READING_DELTA).epsilon)
    if read > summed * Fraction(99, 100):
        return []
    at = delta_text(READING_DELTA)
    return [f"read at delta {at} the worst patient has epsilon {decimal_text(read)} (reported, not what is charged)"]


def _mechanism(guarantee: Guarantee) -> str:
    words = _MECHANISM_WORDS.get(guarantee.mechanism, guarantee.mechanism)
    if guarantee.bound.kind == "blocks":
        words += f", else: {_MECHANISM_WORDS.get(guarantee.parameters.get('of', ''), 'as its parameters say')}"
    counted = {"box": "latent element", "l1-ball": "latent element", "l2-ball": "latent element", "none": "cell"}.get(
        guarantee.bound.kind, "number"
    )
    plural = "" if guarantee.dimension == 1 else "s"
    return f"{words}; {_bound(guarantee.bound)}; {guarantee.dimension:,} {counted}{plural} per {guarantee.record}."


def _bound(bound: Bound) -> str:
    radius = decimal_text(bound.radius or Fraction(0))
    return {
        "box": f"every element clipped to +-{radius} beforehand",
        "l1-ball": f"every latent scaled into an L1 ball of radius {radius} beforehand",
        "l2-ball": f"every latent scaled into an L2 ball of radius {radius} beforehand",
        "direction": "only the direction of the latent is used",
        "index": "only an index into a public list is released",
        "blocks": "each block has a bound of its own, stated in the claim's parameters",
        "none": "no bound is needed",
    }[bound.kind]


def _conditions(guarantee: Guarantee) -> str:
    words = []
    for name, condition in sorted(guarantee.conditions.items()):
        if condition.policy == "randomised" and condition.epsilon is not None:
            words.append(f"{name} randomised once {_drawn_from(condition)}")
        else:
            words.append(f"{name} {condition.policy}{' (not covered)' if condition.policy == 'public' else ''}")
    return "; ".join(words) + "."


def _drawn_from(condition: ConditionPolicy) -> str:
    """The public set of a randomised condition, what the draw costs, and for levels how often it is the true one."""
    epsilon = condition.epsilon or Fraction(0)
    cost = f"epsilon {decimal_text(epsilon)}, added"
    if condition.low is not None and condition.high is not None:
        return f"within {_signed_text(condition.low)} to {_signed_text(condition.high)} ({cost})"
    # The coin is rounded down, so this is never less than what is drawn: what a reader may rely on at most.
    true = reidentification_at_most(epsilon, condition.levels or 2)
    return (
        f"over {condition.levels} public levels ({cost}; the true level with probability {decimal_text(true)} at most)"
    )


def _signed_text(value: Fraction) -> str:
    return f"-{decimal_text(-value)}" if value < 0 else decimal_text(value)


def _element(guarantee: Guarantee) -> str:
    """What one element of a record is."""
    return "cell" if guarantee.bound.kind == "none" else "latent element"


def _covered(guarantee: Guarantee) -> str:
    drawn = sorted(name for name, c in guarantee.conditions.items() if c.policy == "randomised")
    shown = ["picture", *drawn, "code (if any)"] if guarantee.record == "image" else ["row", *drawn]
    listed = " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
    among = f", among {guarantee.record}s that agree on what is released in clear" if guarantee.shows_in_clear else ""
    return f"every inference about {guarantee.a_record} from its released {listed}{among}."


def _shown(guarantee: Guarantee) -> str:
    """What a record becomes when it leaves."""
    return "picture" if guarantee.record == "image" else "row"


def _limits() -> list[CardEntry]:
    return [CardEntry("Use", "not thereby anonymous in law; not for diagnosis.")]
