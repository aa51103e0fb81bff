"""RELEASE: the folder that leaves the house, built in a private spool and published by one rename.

    RELEASE/
        README          the card in plain words
        release.json    guarantee, model card, hashes of all files
        manifest.csv    file name and released conditions
        images/         fresh random names; class sub-folders only where the label is released
        DATASET.md, croissant.json      the data set card, for people and for data tools
        codes.npy, kept_code/           only of a method with a kept code: see `kept.py`

Nothing in it links to a source: names are random, order is random, times are one and the same, and picture
files carry pixels only.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from veilray.durable import read_json
from veilray.errors import Refused
from veilray.images import write_image
from veilray.methods.base import ModelCard
from veilray.methods.kept import CANDIDATES, CODES, KEPT_FOLDER, Kept
from veilray.methods.record import Committed
from veilray.methods.spool import FORMAT, RELEASE_JSON, Describe, Spool, claim_of, origin_of, sha256_of
from veilray.privacy import Guarantee
from veilray.privacy.card import ReleaseOrigin, card_text

__all__ = ["ImageSpool", "read_release"]

_LARGEST_JSON = 2**30


class ImageSpool(Spool):
    """The spool of released pictures."""

    def place(self, name: str, conditions: dict[str, str], pixels: NDArray[Any]) -> tuple[str, str]:
        """Write one released image durably; return its path in the release and its SHA-256."""
        label = conditions.get("label")
        relative = Path("images", *([label] if label else []), f"{name}.png")
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self._touched |= {path.parent, path.parent.parent}
        written = write_image(path, pixels)
        return relative.as_posix(), hashlib.sha256(written).hexdigest()

    def finish(
        self,
        *,
        identifier: str,
        version: str,
        guarantee: Guarantee,
        card: ModelCard,
        files: Sequence[Committed],
        day: date,
        kept: Kept | None = None,
        describe: Describe | None = None,
        decoded_under: Mapping[str, str] | None = None,
    ) -> str:
        """Write everything else beside the images; return the SHA-256 of release.json, which names all hashes.

        Raises:
            Refused: where the rows of a kept code were not committed with their images.
        """
        self.write("manifest.csv", _manifest(files))
        origin = origin_of(card, identifier=identifier, version=version, day=day)
        readme = _readme(guarantee, origin, card, len(files), kept, describe is not None, decoded_under or {})
        self.write("README", readme)
        told = {
            **claim_of(guarantee, card, identifier=identifier, version=version, day=day),
            **({"decoded_under": dict(decoded_under)} if decoded_under else {}),
            **({} if kept is None else kept.write(self.folder, _rows(files))),
        }
        listed = {file.path: file.sha256 for file in files}
        written = ["manifest.csv", "README", *([] if kept is None else kept.names(self.folder))]
        listed |= {name: sha256_of(self.folder / name) for name in written}
        return self.seal(told, listed, day, describe)


def read_release(folder: Path) -> dict[str, Any]:
    """The contents of release.json, with `guarantee` as a `Guarantee` and `model` as a `ModelCard`.

    Raises:
        ValueError: where the folder is no release of this project.
    """
    path = folder / RELEASE_JSON
    if not path.is_file():
        raise ValueError(f"RELEASE must be a folder with {RELEASE_JSON} in it, got {folder}")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path} must be at most {_LARGEST_JSON:,} bytes, got {path.stat().st_size:,}")
    told = read_json(path, RELEASE_JSON)
    if told.get("format") != FORMAT or told.get("version") != 1:
        raise ValueError(f"{path} must be a {FORMAT} of version 1, got another file")
    told["guarantee"] = Guarantee.from_json(json.dumps(told.get("guarantee")))
    told["model"] = ModelCard.model_validate(told.get("model"))
    return told


def _rows(files: Sequence[Committed]) -> list[bytes]:
    rows = [file.code for file in files if file.code is not None]
    if len(rows) != len(files):
        raise Refused(
            f"{len(files) - len(rows)} committed images have no code row in RECORD: they must not be drawn again. "
            "Make a new release (charged anew)"
        )
    return rows


def _manifest(files: Sequence[Committed]) -> str:
    columns = ["path", *sorted({name for file in files for name in file.conditions})]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({"path": file.path, **file.conditions} for file in files)
    return text.getvalue()


def _readme(
    guarantee: Guarantee,
    origin: ReleaseOrigin,
    card: ModelCard,
    count: int,
    kept: Kept | None,
    described: bool,
    decoded_under: Mapping[str, str],
) -> str:
    title = f"{count:,} released images"
    files = "Files: images/ (PNG), manifest.csv, release.json (the claim for machines, SHA-256 of every file).\n"
    if kept is not None:
        also = f", {CANDIDATES} (the public list)" if kept.candidates is not None else ""
        files += (
            f"The pictures were made from {CODES}: {kept.code.dimension} released numbers an image, in the order of "
            "manifest.csv.\nBoth leave under the one claim above.\n"
            f"{KEPT_FOLDER}/ (the public function that these numbers are of){also}.\n"
        )
    if decoded_under:
        facts = ", ".join(f"{name} = {value}" for name, value in sorted(decoded_under.items()))
        files += f"Counterfactual: every picture was drawn as if {facts}, whatever its own.\n"
    if described:
        files += "DATASET.md and croissant.json: the data set card, for people and for data tools.\n"
    return (
        f"{title}\n{'=' * len(title)}\n\n"
        "These pictures were made by veilray from images that stay where they were taken.\n"
        "This is what is promised about them:\n\n"
        f"{card_text(guarantee, origin)}\n"
        f"Model: {card.name} ({card.method}), {card.for_release().weights_words}.\n"
        f"Geometry, brought from each source by this rule:\n{textwrap.indent(card.geometry_rule, '  ')}\n"
        f"{files}"
    )
