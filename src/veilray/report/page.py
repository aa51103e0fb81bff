"""HTML pages that stand alone: pictures inside, no network, readable on paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from veilray.privacy import Guarantee
from veilray.privacy.card import ReleaseOrigin, card_entries
from veilray.privacy.exact import decimal_text

__all__ = ["DemoFacts", "card_page", "demo_page"]

_PAGES = Environment(loader=PackageLoader("veilray.report"), autoescape=select_autoescape(), trim_blocks=True)


@dataclass(frozen=True)
class DemoFacts:
    """What the demo's page tells: figures it measured, and the pictures it drew (paths to PNG files)."""

    subject: str
    training: Mapping[str, str]
    premise: Mapping[str, str]
    guarantees: Sequence[Guarantee]
    release: Guarantee
    pictures: Mapping[str, Path]
    commands: Sequence[str]


def card_page(guarantee: Guarantee | None, title: str, origin: ReleaseOrigin | None = None) -> str:
    """The guarantee card as a page."""
    records = "images" if guarantee is None else f"{guarantee.record}s"
    entries = card_entries(guarantee, origin)
    return _PAGES.get_template("card.html").render(title=title, entries=entries, records=records)


def demo_page(facts: DemoFacts) -> str:
    """The page that `veilray demo` ends with."""
    return _PAGES.get_template("demo.html").render(
        facts=facts,
        entries=card_entries(facts.release),
        rows=[_row(guarantee) for guarantee in facts.guarantees],
        pictures={name: _inline(path) for name, path in facts.pictures.items()},
    )


def _row(guarantee: Guarantee) -> dict[str, Any]:
    ceiling = guarantee.ceiling()
    return {
        "asked": f"{'per element' if guarantee.unit == 'element' else 'whole image'}, epsilon "
        f"{decimal_text(guarantee.epsilon)}",
        "image": decimal_text(guarantee.image_epsilon),
        "element": "-" if guarantee.element_epsilon is None else decimal_text(guarantee.element_epsilon),
        "odds": f"{decimal_text(100 * guarantee.odds_at_most(), 3)} %",
        "nats": "-" if ceiling is None else decimal_text(ceiling, 3),
    }


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
