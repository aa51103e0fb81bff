"""`veilray card`: the claim of a release on one screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veilray.cli import options
from veilray.cli.output import OUT, counted, print_card, print_json

__all__ = ["card"]


def card(
    release: Annotated[Path, typer.Argument(help="RELEASE: a folder made by `veilray release`.")],
    html: Annotated[Path | None, typer.Option(help="Also write the card as a page to this new file.")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Show what a release claims, what it covers and what it does not."""
    from veilray.methods import read_release

    told = read_release(release)
    if html is not None:
        from veilray.report import card_page

        title = counted(told["guarantee"].releases.images, f"released {told['guarantee'].record}")
        try:
            with html.open("x", encoding="utf-8") as file:
                file.write(card_page(told["guarantee"], title=title))
        except FileExistsError:
            raise ValueError(f"--html must be a new file, got {html}, which exists: name another") from None
    if as_json:
        print_json({"guarantee": told["guarantee"].to_dict(), "model": told["model"].model_dump(mode="json")})
        return 0
    print_card(told["guarantee"])
    model = told["model"]
    OUT.print(f"Model {model.name} ({model.method}); released {told['date']} by {told['software']}", highlight=False)
    return 0
