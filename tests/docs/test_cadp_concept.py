"""The tables of docs/concept/cadp.md are made of the committed measurements, and its sentences agree with them.

`python tests/docs/test_cadp_concept.py` writes the tables anew. A table stands between `<!-- measured: NAME -->` and
`<!-- end -->`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "concept" / "cadp.md"
PUBLISHED = DOCS / "data" / "cadp_published.csv"
NETWORKS = DOCS / "data" / "cadp_networks.csv"
BLOCK = re.compile(r"(<!-- measured: ([\w -]+) -->\n)(?:(?!<!--).)*(<!-- end -->)", re.DOTALL)
EPSILONS = ("0.5", "1", "2", "4")
READINGS = ("as run", "as configured")

Row = dict[str, str]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@cache
def published() -> tuple[Row, ...]:
    with PUBLISHED.open(newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def networks() -> tuple[Row, ...]:
    with NETWORKS.open(newline="") as file:
        return tuple(csv.DictReader(file))


def found(network: str, measure: str, of: str, epsilon: str = "", batch: str = "") -> Row:
    """The one row of a measurement."""
    key = (network, measure, of, epsilon, batch)
    names = ("network", "measure", "of", "epsilon", "batch_size")
    (row,) = [row for row in published() if tuple(row[name] for name in names) == key]
    return row


def figure(row: Row) -> str:
    if not row["low"]:
        return f"{float(row['value']):.3f}"
    return f"{float(row['value']):.3f} ({float(row['low']):.3f} to {float(row['high']):.3f})"


def rank_one() -> str:
    attacks = (("released latent", "1"), ("released picture", "1"), ("released latent", "64"))
    words = ("one by one, latent", "one by one, 8-bit picture", "batches of 64, latent")
    lines = []
    for network in READINGS:
        for (of, batch), told in zip(attacks, words, strict=True):
            shown = [figure(found(network, "rank-1", of, epsilon, batch)) for epsilon in EPSILONS]
            lines.append((f"{network}: {told}", *shown))
    limits = [f"{float(found('as run', 'rank-1', 'released latent', each, '1')['limit']):.3f}" for each in EPSILONS]
    return table(_head("named right"), [("**at most, if the claim held**", *limits), *lines])


def reach() -> str:
    rows = []
    for network in READINGS:
        nats = [float(found(network, "reach", "two images of a digit", each, "1")["value"]) for each in EPSILONS]
        rows.append((network, *(f"{value:.1f}" for value in nats)))
    return table(_head("nats"), rows)


def worth() -> str:
    rows = []
    for network in READINGS:
        for batch, told in (("1", "one by one"), ("64", "batches of 64")):
            shown = [figure(found(network, "accuracy", "released", epsilon, batch)) for epsilon in EPSILONS]
            rows.append((f"{network}: released {told}", *shown))
        for null, told in (("prior", "latents from the prior"), ("noise alone", "the noise alone")):
            shown = [figure(found(network, "accuracy", f"null-conditional, {null}"))]
            rows.append((f"{network}: no image, {told}", *shown * len(EPSILONS)))
    real = figure(found("as run", "accuracy", "real pictures"))
    return table(_head("accuracy"), [("real pictures", *[real] * len(EPSILONS)), *rows])


def sizes() -> str:
    rows = []
    for row in networks():
        flat = f"{int(row['flat_parameters']):,}" if row["flat_parameters"] else "none"
        bits = f"{float(row['bits']):.2f}" if row["bits"] else "not trained"
        minutes = f"{float(row['cpu_minutes']):.1f}" if row["cpu_minutes"] else ""
        rows.append((row["data"], row["network"], f"{int(row['parameters']):,}", flat, minutes, bits))
    head = ("data", "network", "parameters", "of them in flattened layers", "core-minutes", "bits/dim, test")
    return table(head, rows)


def _head(first: str) -> tuple[str, ...]:
    return (first, *(f"claimed epsilon {each}" for each in EPSILONS))


MEASURED: dict[str, Callable[[], str]] = {"rank-1": rank_one, "reach": reach, "worth": worth, "networks": sizes}


def anew(page: str) -> str:
    """The page with each table written again; that of the networks stays where they have not been measured."""

    def written(block: re.Match[str]) -> str:
        if block[2] == "networks" and not NETWORKS.exists():
            return block[0]
        return f"{block[1]}\n{MEASURED[block[2]]()}\n\n{block[3]}"

    return BLOCK.sub(written, page)


def test_the_tables_are_those_of_the_measurements() -> None:
    page = PAGE.read_text("utf-8")
    assert sorted(name for _, name, _ in BLOCK.findall(page)) == sorted(MEASURED)
    assert page == anew(page), "write them anew: python tests/docs/test_cadp_concept.py"


def test_the_claim_is_refuted_where_the_page_says_so() -> None:
    above = {
        (network, epsilon): float(row["low"]) > float(row["limit"])
        for network in READINGS
        for epsilon in EPSILONS
        for row in [found(network, "rank-1", "released latent", epsilon, "1")]
    }
    assert {key for key, refuted in above.items() if not refuted} == {("as configured", "4")}
    batches = [found(network, "rank-1", "released latent", each, "64") for network in READINGS for each in EPSILONS]
    assert all(float(row["low"]) < float(row["limit"]) for row in batches)


def test_the_figures_in_the_text_are_those_of_the_measurements() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())
    named = [float(found("as run", "rank-1", f"released {of}", "4", "1")["value"]) for of in ("latent", "picture")]
    assert f"named in {100 * named[0]:.1f} of 100 cases, and in {100 * named[1]:.1f} from the finished" in text
    shrunk = found("as run", "coupling", "size of a latent beside a white picture", "1", "2")
    assert f"shrinks to {100 * float(shrunk['value']):.0f} % of its size" in text
    for batch, white, digit in (("2", "9.3", "1.7"), ("64", "11.3", "0.39")):
        for of, told in (("a white picture", white), ("another digit", digit)):
            row = found("as run", "coupling", f"nats in the others' releases, {of}", "1", batch)
            assert f"{float(row['value']):.{len(told.partition('.')[2])}f}" == told
            assert re.search(rf"\b{re.escape(told)}\b", text)


def test_the_published_network_has_the_size_that_the_page_says() -> None:
    if not NETWORKS.exists():
        pytest.skip("studies/cadp_networks.py has not been run")
    text = " ".join(PAGE.read_text("utf-8").split())
    sizes = [(int(row["parameters"]), int(row["flat_parameters"] or 0)) for row in networks()]
    largest, flat = max(sizes)
    assert f"{largest / 1e6:.0f} million parameters, of which {flat / 1e6:.0f} million" in text


if __name__ == "__main__":
    PAGE.write_text(anew(PAGE.read_text("utf-8")), "utf-8")
