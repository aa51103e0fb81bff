"""`veilray card`: the claim of a release on one screen, or that obfuscated pictures carry none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilray.cli import options
from veilray.cli.output import OUT, counted, print_card, print_json
from veilray.places import OBFUSCATED_JSON, check_apart, check_new_file, write_new

if TYPE_CHECKING:
    from veilray.privacy import Guarantee
    from veilray.privacy.card import ReleaseOrigin

__all__ = ["card"]


def card(
    release: Annotated[Path, typer.Argument(help="RELEASE or OBFUSCATED: a folder that is meant to leave the house.")],
    html: Annotated[Path | None, typer.Option(help="Also write the card as a page to this new file.")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Show what a release claims, what it covers and what it does not. Obfuscated pictures claim nothing."""
    if html is not None:
        check_new_file("--html", html)
        check_apart({"--html": html}, {"RELEASE": release})
    told = _told(release)
    if html is not None:
        from veilray.report import card_page

        write_new("--html", html, card_page(told.guarantee, title=told.title, origin=told.origin).encode())
    if as_json:
        print_json(told.fields)
        return 0
    print_card(told.guarantee, origin=told.origin)
    if told.note:
        OUT.print(told.note, highlight=False)
    return 0


@dataclass(frozen=True)
class _Told:
    """What a folder says of itself: its guarantee or None, a title, where it is from, and all that as JSON types."""

    guarantee: Guarantee | None
    title: str
    fields: dict[str, Any]
    origin: ReleaseOrigin | None = None
    note: str = ""


def _told(folder: Path) -> _Told:
    from veilray.privacy.card import ReleaseOrigin
    from veilray.releases import read_release

    if (folder / OBFUSCATED_JSON).is_file():
        return _obfuscated(folder)
    told = read_release(folder)
    guarantee, model = told["guarantee"], told["model"]
    return _Told(
        guarantee,
        counted(guarantee.releases.images, f"released {guarantee.record}"),
        {
            **{name: told[name] for name in ("identifier", "date", "software")},
            "guarantee": guarantee.to_dict(),
            "model": model.model_dump(mode="json"),
        },
        ReleaseOrigin(told["identifier"], told["date"], told["software"], model.name, model.method),
    )


def _obfuscated(folder: Path) -> _Told:
    from veilray.cloud import read_handed

    told = read_handed(folder)
    return _Told(
        None,
        counted(told.images, "obfuscated image"),
        told.model_dump(mode="json", exclude={"files"}),
        note=f"Obfuscated under key {told.key} on {told.date} by {told.software}: {told.claim}.",
    )
