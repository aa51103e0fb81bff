"""Every table of figures in the documentation is computed here, and compared with what the page shows.

`python tests/docs/test_tables.py` writes the tables anew. A table stands between `<!-- computed: NAME -->` and
`<!-- end -->`.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm

from veilray.privacy import MECHANISMS, Claim
from veilray.privacy.audited import AUDITED
from veilray.privacy.calibration import gaussian_delta, gaussian_mu, gaussian_sigma
from veilray.privacy.card import card_entries
from veilray.privacy.ceiling import (
    attribute_accuracy_ceiling,
    correlation_ceiling,
    mutual_information_at_most,
    reidentification_ceiling,
    verification_auc_ceiling,
)
from veilray.privacy.composition import (
    Event,
    Gaussian,
    Pure,
    epsilon_of_gdp,
    epsilon_of_zcdp,
    events_of,
    gdp_squared,
    reported_epsilon,
    total,
    zcdp,
)
from veilray.privacy.exact import decimal_text
from veilray.privacy.guarantee import ModelTraining, Releases
from veilray.privacy.mechanisms.directional import Directional, expected_norm
from veilray.privacy.spherical_cap import upper_moment, upper_probability
from veilray.privacy.subset_selection import SubsetSelection, best_winner_count
from veilray.privacy.water_filling import block_shares

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
MEASURED = DOCS / "data" / "correlation.csv"
BLOCK = re.compile(r"(<!-- computed: ([\w -]+) -->\n)(?:(?!<!--).)*(<!-- end -->)", re.DOTALL)

DELTA = Fraction(1, 10**6)
PICTURE = 28 * 28
NAMES = ("laplace", "gaussian", "directional", "directional, sphere", "codebook")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def up(value: float, digits: int = 3) -> str:
    """A ceiling for people: never shown below its value."""
    return decimal_text(Fraction(value), digits)


def percent(share: float) -> str:
    return f"{up(100 * share)} %"


def near(value: float) -> str:
    return f"{value:.3g}"


@cache
def study() -> Any:
    """`studies/correlation.py`, whose theory lines the tables share."""
    spec = importlib.util.spec_from_file_location("correlation_study", REPOSITORY / "studies" / "correlation.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def odds() -> str:
    rows = [
        (
            e,
            percent(reidentification_ceiling(Fraction(e), 1000)),
            percent(attribute_accuracy_ceiling(Fraction(e))),
            up(verification_auc_ceiling(Fraction(e))),
        )
        for e in ("1/2", "1", "2", "4", "8", "10", "16")
    ]
    head = ("whole-image epsilon", "right one among 1,000", "yes or no, right", "own or other, AUC")
    return table((head[0], *(f"{each}, at most" for each in head[1:])), [("none", "0.1 %", "50 %", "0.5"), *rows])


def patients() -> str:
    def spent(epsilon: str, images: int) -> str:
        guarantee = MECHANISMS["directional"].calibrate(Claim.of(epsilon), PICTURE).guarantee(PICTURE)
        releases = Releases(images=images, patients=1, largest_patient=images)
        training = ModelTraining(data="public", statement="others")
        whole = guarantee.with_release(releases=releases, conditions={}, model_training=training)
        return decimal_text(whole.patient_epsilon or Fraction(0)) + (" (warning)" if whole.protects_little else "")

    counts = (1, 2, 5, 30)
    head = ("epsilon an image", *(f"{n} image{'s' * (n > 1)}" for n in counts))
    return table(head, [(e, *(spent(e, n) for n in counts)) for e in ("1", "4", "8", "10")])


def warning() -> str:
    guarantee = MECHANISMS["directional"].calibrate(Claim.of("4"), PICTURE).guarantee(PICTURE)
    whole = guarantee.with_release(
        releases=Releases(images=1000, patients=200, largest_patient=30),
        conditions={},
        model_training=ModelTraining(data="public", statement="others"),
    )
    entries = {entry.heading: entry.text for entry in card_entries(whole)}
    shown = "\n".join(f"{heading + ':':<10}{entries[heading]}" for heading in ("In odds", "Warning"))
    return f"```text\n{shown}\n```"


def kept() -> str:
    """Correlation of an N(0, I) latent of a 28 x 28 picture with its release, in theory."""

    def row(name: str, value: Callable[[str], float]) -> tuple[str, ...]:
        return (name, *(near(value(e)) for e in ("1", "8", "64")))

    def sigma(e: str) -> float:
        return 2 * math.sqrt(PICTURE) * float(gaussian_sigma(Fraction(e), DELTA))

    def leaning(name: str) -> Callable[[str], float]:
        return lambda e: MECHANISMS[name].calibrate(Claim.of(e), PICTURE).expected_correlation()  # type: ignore[attr-defined]

    return table(
        ("784 latent numbers; whole-image epsilon", "1", "8", "64"),
        [
            row("`laplace`, box of 3", lambda e: study().laplace_theory(PICTURE, float(e), 3.0)),
            row("`gaussian`, delta 1e-6", lambda e: study().gaussian_theory(PICTURE, sigma(e))),
            row("`directional`", leaning("directional")),
            row("`codebook`", leaning("codebook")),
            row("ceiling of every pure mechanism", lambda e: correlation_ceiling(Fraction(e), PICTURE)),
        ],
    )


def many() -> str:
    """What is kept of each of m images when the patient has (8, 1e-6), each mechanism counted at its best."""
    mu = float(gaussian_mu(Fraction(8), DELTA))
    rows = []
    for images in (1, 5, 15, 20, 30, 100):
        each = mu / math.sqrt(images)
        as_gaussian = math.log(norm.cdf(each / 2) / norm.sf(each / 2))
        share = max(Fraction(8, images), Fraction(as_gaussian).limit_denominator(10**6))
        leaning = Directional.calibrate(Claim(share), PICTURE).expected_correlation()
        rows.append((images, near(leaning), near(study().gaussian_theory(PICTURE, 2 * math.sqrt(PICTURE) / each))))
    return table(("images of the patient", "`directional`", "`gaussian`"), rows)


def added() -> str:
    """Thirty releases of epsilon 4, in the four ways of counting."""
    gaussian = MECHANISMS["gaussian"].calibrate(Claim.of(4, DELTA), PICTURE)
    (one,) = events_of(gaussian.guarantee(PICTURE))
    assert isinstance(one, Gaussian)
    lists: list[tuple[str, list[Event]]] = [
        ("`gaussian`, (4, 1e-6) each", [replace(one, count=30)]),
        ("pure, 4 each", [Pure(epsilon=Fraction(4), count=30)]),
        ("pure, 1/4 each", [Pure(epsilon=Fraction(1, 4), count=30)]),
    ]
    rows = []
    for name, events in lists:
        summed = total(events)
        told = f"{up(float(summed.epsilon), 4)}" + (f" at delta {float(summed.delta):.0e}" if summed.delta else "")
        readings = (
            float(epsilon_of_gdp(gdp_squared(events), DELTA)),
            float(epsilon_of_zcdp(zcdp(events), DELTA)),
            reported_epsilon(events, DELTA),
        )
        rows.append((name, told.replace("e-0", "e-"), *(up(value, 4) for value in readings)))
    return table(("30 releases", "sum", "GDP at 1e-6", "zCDP at 1e-6", "loss distribution at 1e-6"), rows)


def chosen() -> str:
    rows = []
    for e in ("1/2", "1", "2", "4", "8"):
        winners = best_winner_count(Fraction(e), 1024)
        chance = SubsetSelection.of(Fraction(e), 1024, winners).win_probability
        rows.append((e, winners, f"{100 * chance:.0f} %"))
    return table(("epsilon", "winners among 1,024", "a winner comes out"), rows)


def textbook() -> str:
    rows = []
    for e in ("1/2", "1", "4", "8", "16", "64"):
        old = math.sqrt(2 * math.log(1.25 / float(DELTA))) / float(Fraction(e))
        true = float(gaussian_delta(Fraction(e), Fraction(1 / old)))
        rows.append((e, up(float(gaussian_sigma(Fraction(e), DELTA)), 4), near(old), f"{true:.2g}"))
    head = ("epsilon", "analytic sigma / Delta", "textbook sigma / Delta", "true delta of the textbook's")
    return table(head, rows)


def blocks() -> str:
    rows = []
    for e in ("1/2", "1", "2", "4", "8"):
        b = Directional.calibrate(Claim.of(e), 64).blocks[0]
        rows.append((e, near(b.gamma), near(b.q), b.candidates, near(b.effective), near(b.projection)))
    return table(("epsilon of the block", "gamma", "q", "M", "p_eff", "E<v, u>"), rows)


def ceilings() -> str:
    rows = [
        (
            e,
            decimal_text(mutual_information_at_most(Fraction(e)), 3),
            *(up(correlation_ceiling(Fraction(e), d)) for d in (8, 64, PICTURE)),
        )
        for e in ("1/2", "1", "2", "4", "8", "16", "64")
    ]
    return table(("epsilon", "I*, nats", "rho_max of N(0, I_8)", "N(0, I_64)", "N(0, I_784)"), rows)


def variants() -> str:
    """The smallest share of each audited variant, as the card looks it up."""
    rows = []
    for (variant, _), found in sorted(AUDITED.items(), key=lambda item: str(item[0])):
        kind = variant.of or variant.form or (variant.bound if variant.bound not in ("index", "none") else "")
        share = f"{float(found.share):.3f}" + (" of mu" if found.figure == "mu" else "")
        unit = "cell" if (variant.unit, variant.bound) == ("element", "none") else variant.unit
        rows.append((f"`{variant.mechanism}`", kind, unit, found.dimension, f"{found.trials:,}", share, found.note))
    return table(("mechanism", "bound, form or blocks", "unit", "elements", "trials a side", "share", "with"), rows)


@cache
def measured() -> dict[tuple[int, str, str], dict[str, str]]:
    """The last measurement of each point: runs are appended."""
    with MEASURED.open(newline="") as file:
        return {(int(row["dimension"]), row["epsilon"], row["mechanism"]): row for row in csv.DictReader(file)}


def correlation(dimension: int) -> str:
    points = measured()
    epsilons = sorted({e for d, e, _ in points if d == dimension}, key=Fraction)
    rows = []
    for e in epsilons:
        found = [points.get((dimension, e, name)) for name in NAMES]
        cells = [f"{near(float(f['theory']))} / {near(float(f['measured']))}" if f else "" for f in found]
        (ceiling,) = {near(float(f["ceiling"])) for f in found if f}
        rows.append((e, *cells, ceiling))
    return table(("epsilon", *NAMES, "ceiling (pure)"), rows)


def one_block(dimension: int, epsilon: float) -> float:
    """Correlation of PrivUnit in a single block, as published: what no fixed number of candidates reaches above 8."""

    def loss(gamma: float) -> float:
        q = upper_probability("sphere", dimension, gamma)
        if not 0 < q < 1:
            return 0.0
        p = q / (q + (1 - q) * math.exp(-epsilon))
        return -upper_moment("sphere", dimension, gamma) * (p / q - (1 - p) / (1 - q))

    best = -minimize_scalar(loss, bounds=(0.0, 0.999), method="bounded", options={"xatol": 1e-9}).fun
    return float(best * expected_norm(dimension) / math.sqrt(dimension))


def expected() -> str:
    """Figures that follow from the published definitions, beside what was measured here."""
    points, rows = measured(), []

    def shown(d: int, e: str, name: str) -> str:
        return near(float(points[d, e, name]["measured"]))

    for d, e in ((64, "8"), (64, "64"), (1024, "8"), (1024, "64")):
        plain = 1 / math.sqrt(1 + 4 * d * float(gaussian_sigma(Fraction(e), DELTA)) ** 2)
        rows.append((d, e, "gaussian", "no row scaled into the ball", near(plain), shown(d, e, "gaussian")))
    for d, e in ((64, "8"), (64, "64"), (1024, "8"), (1024, "64")):
        single = near(one_block(d, float(e)))
        rows.append((d, e, "directional, sphere", "PrivUnit in one block", single, shown(d, e, "directional, sphere")))
    return table(("d", "epsilon", "mechanism", "expected from", "expected", "measured"), rows)


def few() -> str:
    """What is left of each of d numbers: coordinate noise against a direction."""
    rows = []
    for d in (2, 4, 8, 16, 64, PICTURE):
        cells = []
        for e in ("1", "4"):
            cells.append(near(study().laplace_theory(d, float(e), 3.0)))
            cells.append(near(Directional.calibrate(Claim.of(e), d).expected_correlation()))
            cells.append(near(correlation_ceiling(Fraction(e), d)))
        rows.append((f"{d:,}", *cells))
    kinds = ("`laplace`", "`directional`", "ceiling")
    return table(("d", *(f"{kind}, epsilon {e}" for e in ("1", "4") for kind in kinds)), rows)


def recovered(sizes: Sequence[int], shares: Sequence[Fraction]) -> float:
    """Part of the variance of 16 numbers of variances 1/i that a linear reader finds in blocks of these sizes."""
    variances, found, start = [1 / i for i in range(1, 17)], 0.0, 0
    for size, share in zip(sizes, shares, strict=True):
        left = Directional.calibrate(Claim(share), size).expected_correlation() ** 2
        found += left * sum(variances[start : start + size])
        start += size
    return found / sum(variances)


def shared() -> str:
    def default(e: str, keep: int) -> float:
        mechanism = Directional.calibrate(Claim.of(e), keep)
        return recovered([block.k for block in mechanism.blocks], mechanism.shares)

    rows, cut = [], (4, 12)
    for e in ("4", "8", "16"):
        best = max(range(2, 17), key=lambda keep, e=e: default(e, keep))  # type: ignore[misc]
        sizes, shares = block_shares([1 / i for i in range(1, 17)], cut, e)
        told = f"{recovered(sizes, shares):.3f} ({', '.join(decimal_text(share) for share in shares)})"
        equal = recovered(cut, (Fraction(e) / 2,) * 2)
        rows.append((e, f"{default(e, best):.3f} ({best})", told, f"{equal:.3f}"))
    head = ("epsilon", "default blocks (best k)", "blocks of 4 and 12, shares", "blocks of 4 and 12, equal parts")
    return table(head, rows)


def random_maps() -> str:
    """What a random function of 256 levels to N loses: the levels that share a target are binomial in number."""
    rows = []
    for n in (256, 128, 64, 32, 16, 8, 2):
        shared = range(1, 257)
        lost = n / 256 * sum(binom.pmf(k, 256, 1 / n) * k * math.log2(k) for k in shared)
        alone = (1 - 1 / n) ** 255
        rows.append((n, f"{lost:.2f}", f"{100 * alone:.1f} %", f"{100 / n:.1f} %"))
    head = ("target levels", "bits left open, of 8", "levels alone in their target", "edges that vanish, smoothness 0")
    return table(head, rows)


COMPUTED: dict[str, Callable[[], str]] = {
    "random maps": random_maps,
    "few numbers": few,
    "shares": shared,
    "odds": odds,
    "patients": patients,
    "warning": warning,
    "kept": kept,
    "many images": many,
    "added up": added,
    "selection": chosen,
    "textbook": textbook,
    "blocks": blocks,
    "ceilings": ceilings,
    "variants": variants,
    "correlation 8": lambda: correlation(8),
    "correlation 64": lambda: correlation(64),
    "correlation 1024": lambda: correlation(1024),
    "expected": expected,
}


def anew(page: str) -> str:
    """The page with each computed table written again."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{COMPUTED[found[2]]()}\n\n{found[3]}", page)


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if BLOCK.search(page.read_text("utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_tables_are_what_the_code_computes(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == anew(text), "write them anew: python tests/docs/test_tables.py"


def test_every_computed_table_is_shown_once() -> None:
    shown = [name for page in PAGES for _, name, _ in BLOCK.findall(page.read_text("utf-8"))]
    assert sorted(shown) == sorted(COMPUTED)


def test_every_measurement_agrees_with_its_theory_and_the_pure_ones_keep_below_the_ceiling() -> None:
    for (_, _, name), row in measured().items():
        error = 4 * float(row["standard_error"])
        assert abs(float(row["measured"]) - float(row["theory"])) <= 0.03 * float(row["theory"]) + error
        if name != "gaussian":
            assert float(row["measured"]) <= float(row["ceiling"]) + error


def test_the_open_loop_of_ten_draws_tells_what_the_text_says() -> None:
    b = Directional.calibrate(Claim.of(4), 64).blocks[0]
    exponent = math.log(b.effective / (1 - b.effective)) + 9 * math.log((1 - b.q) / b.q)
    text = (DOCS / "concept" / "derivations.md").read_text("utf-8")
    assert re.findall(r"ratio of e\^(\d+)", text) == [str(math.floor(exponent))]


def test_thirty_images_at_four_are_said_to_be_120() -> None:
    for name in ("how-to/choose-a-mechanism-and-an-epsilon.md", "concept/the-claim.md"):
        assert re.search(r"\b[Tt]hirty images\b.*\b120\b", (DOCS / name).read_text("utf-8").replace("\n", " "))


def test_the_figures_in_the_text_on_correlation_follow_from_the_measurements() -> None:
    points = {key: (float(row["theory"]), float(row["ceiling"])) for key, row in measured().items()}

    def share(key: tuple[int, str, str]) -> float:
        return 100 * points[key][0] / points[key][1]

    leaning = [share(key) for key in points if Fraction(key[1]) <= 8 and key[2] not in ("laplace", "gaussian")]
    laplace = {d: max(share(key) for key in points if key[0] == d and key[2] == "laplace") for d in (64, 1024)}
    times = points[1024, "1", "directional"][0] / points[1024, "1", "laplace"][0]
    lost = {d: 100 - 100 * points[d, "64", "directional, sphere"][0] / one_block(d, 64) for d in (64, 1024)}
    ceiling = {d: points[d, "4", "laplace"][1] for d in (8, 1024)}
    text = " ".join((DOCS / "reference" / "correlation.md").read_text("utf-8").split())
    for sentence in (
        f"reach {min(leaning):.0f} % to {max(leaning):.0f} % of the ceiling in theory",
        f"`laplace` reaches {laplace[64]:.0f} % of it at most at 64 elements, and {laplace[1024]:.0f} % at most",
        f"`directional` keeps {times:.0f} times what `laplace` keeps",
        f"the ceiling is {ceiling[8]:.3f} for 8 elements, {ceiling[1024]:.3f} for 1,024",
        f"this costs {lost[1024]:.0f} % of the correlation at 1,024 elements, and {lost[64]:.0f} % at 64",
    ):
        assert sentence in text


def test_the_figures_in_the_text_on_choosing_follow_from_the_code() -> None:
    def element(epsilon: str, dimension: int) -> str:
        told = MECHANISMS["laplace"].calibrate(Claim.of(epsilon), dimension).guarantee(dimension).element_epsilon
        assert told is not None
        return near(float(told))

    leaning = Directional.calibrate(Claim.of(8), PICTURE).expected_correlation()
    times = leaning / study().laplace_theory(PICTURE, 8.0, 3.0)
    text = " ".join((DOCS / "how-to" / "choose-a-mechanism-and-an-epsilon.md").read_text("utf-8").split())
    for sentence in (
        f"at 2 it may be answered right {100 * attribute_accuracy_ceiling(2):.0f} times in 100",
        f"At 28 x 28 it is {3 * PICTURE:,} for the picture",
        f"each latent number gets epsilon {element('8', PICTURE)}, at 64 x 64 it gets {element('8', 64 * 64)}",
        f"The mechanism is worth a factor of {10 * round(times / 10)} here",
    ):
        assert sentence in text
    assert 0.7 < reidentification_ceiling(8, 1000) <= 0.75  # three times out of four


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(anew(each.read_text("utf-8")), "utf-8")
