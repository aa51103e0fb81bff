"""Contact sheets: the same images down a column, one setting a row, labelled so that nobody has to guess."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from veilray.extras import needed
from veilray.images import Collection
from veilray.places import check_new_file, write_new
from veilray.privacy import Claim, Guarantee, Mechanism, SeededEntropy
from veilray.privacy.exact import decimal_text
from veilray.releases import Method

__all__ = [
    "SETTINGS",
    "Row",
    "Setting",
    "check_preview",
    "contact_sheet",
    "draw_sheet",
    "first_by_hash",
    "preview_sheet",
    "settings_of",
]

_PICTURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Setting:
    """One row of a contact sheet: a claim for a unit, by a mechanism."""

    epsilon: str
    unit: Literal["image", "element"]
    mechanism: str = "laplace"
    delta: str = "0"


SETTINGS = (
    Setting("10", "element"),
    Setting("3", "element"),
    Setting("1", "element"),
    Setting("1000", "image"),
    Setting("100", "image"),
    Setting("8", "image"),
)
"""Published figures are per element; a claim about a picture is per image. Both are shown."""


_WHOLE = ("8", "4", "2", "1", "0.5")
"""Whole-image epsilons that are shown of a method whose own mechanism is not noise on every element."""


@dataclass(frozen=True)
class Row:
    """A row of pictures `(n, c, h, w)`, its title, and the claim it carries (None: originals)."""

    title: str
    pictures: NDArray[Any]
    guarantee: Guarantee | None = None


def first_by_hash(collection: Collection, count: int) -> list[int]:
    """Indices of the `count` images whose source names have the lowest SHA-256: a choice nobody can flatter."""
    digests = [hashlib.sha256(f"{ref.source}#{ref.frame}".encode()).digest() for ref in collection.refs]
    return sorted(range(len(digests)), key=lambda index: digests[index])[:count]


def settings_of(method: Method) -> tuple[Setting, ...]:
    """What a contact sheet shows of a method: `SETTINGS` where its own mechanism is noise on every element."""
    if method.default_mechanism in {setting.mechanism for setting in SETTINGS}:
        return SETTINGS
    return tuple(Setting(epsilon, "image", method.default_mechanism) for epsilon in _WHOLE)


def contact_sheet(
    method: Method, images: NDArray[Any], settings: Sequence[Setting] | None = None, seed: int = 0
) -> list[Row]:
    """Originals, what the model makes of them without noise, each setting, and draws with no image in them.

    Args:
        method: fitted.
        settings: rows of claims; by default `settings_of` the method.
        images: integer `(n, c, h, w)` of the method's geometry; shown, so public or internal ones.
        seed: for the noise; an experiment, never a release.
    """
    latent = method.encode(images)
    rows = [Row("original", images), Row("no noise", method.decode(latent))]
    entropy = SeededEntropy(seed)
    for setting in settings_of(method) if settings is None else settings:
        mechanism = method.calibrated(Claim.of(setting.epsilon, setting.delta, setting.unit), setting.mechanism)
        drawn = mechanism.release(latent, entropy)
        guarantee = mechanism.guarantee(method.dimension)
        rows.append(Row(_title(guarantee), method.render(drawn, mechanism, entropy), guarantee))
    rows.append(Row("no image at all\n(prior draws)", method.decode(method.prior(len(images), entropy))))
    return rows


def preview_sheet(method: Method, mechanism: Mechanism, path: Path, count: int = 8, seed: int = 0) -> None:
    """Draw what a mechanism does to the model's own samples, in a new file: a preview that needs no private image.

    Raises:
        ValueError: where something is at `path`, or its ending names no kind of picture.
    """
    check_preview(path)
    entropy = SeededEntropy(seed)
    samples = method.decode(method.prior(count, entropy))
    drawn = mechanism.release(method.encode(samples), entropy)
    guarantee = mechanism.guarantee(method.dimension)
    picture = io.BytesIO()
    shown = Row(_title(guarantee), method.render(drawn, mechanism, entropy), guarantee)
    draw_sheet([Row("model sample", samples), shown], picture, kind=path.suffix[1:].lower())
    write_new("--preview", path, picture.getvalue())


def check_preview(path: Path) -> None:
    """Raises ValueError where no preview can be written to `path`: before any work is done."""
    if path.suffix.lower() not in _PICTURES:
        raise ValueError(f"--preview must end in {', '.join(_PICTURES)}, got {path}")
    check_new_file("--preview", path)


def draw_sheet(rows: Sequence[Row], path: Path | io.BytesIO, note: str = "", kind: str | None = None) -> None:
    """Write the rows as a picture; each row is titled on its left.

    Args:
        path: where to, or what to write into.
        note: a line below.
        kind: `png`, `pdf` or `svg`; default: as the path ends.
    """
    count = max(len(row.pictures) for row in rows)
    longest = max(len(line) for row in rows for line in row.title.splitlines())
    margin = max(2.1, 0.2 + 0.08 * longest)
    figure = needed("matplotlib.figure", "plots", "draw pictures").Figure(
        figsize=(margin + 0.9 * count, 0.95 * len(rows) + 0.25), dpi=110
    )
    left = margin / (margin + 0.9 * count)
    axes = figure.subplots(
        len(rows), count, squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05, "left": left, "right": 0.995}
    )
    figure.subplots_adjust(top=0.995, bottom=0.25 / (0.95 * len(rows) + 0.25))
    for row, line in zip(rows, axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        for picture, axis in zip(row.pictures, line, strict=False):
            _show(axis, picture)
        line[0].text(
            -0.12, 0.5, row.title, transform=line[0].transAxes, ha="right", va="center", fontsize=9, linespacing=1.25
        )
    if note:
        figure.text(0.5, 0.01, note, ha="center", fontsize=8, color="#444444")
    figure.savefig(path, format=kind)


def _show(axis: Any, picture: NDArray[Any]) -> None:
    top = float(np.iinfo(picture.dtype).max)
    shown = np.moveaxis(picture.astype(np.float64) / top, 0, -1)
    if shown.shape[-1] == 1:
        axis.imshow(shown[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axis.imshow(shown, interpolation="nearest")


def _title(guarantee: Guarantee) -> str:
    image = f"whole image ε {decimal_text(guarantee.image_epsilon)}"
    if guarantee.unit == "element":
        return f"per element ε {decimal_text(guarantee.epsilon)}\n({image})"
    return image
