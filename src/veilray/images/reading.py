"""How records are read: what the user says once, and what means the same wherever images are opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from veilray.images.intensity import FULL_RANGE, IntensityRule, parse_range
from veilray.images.layout import Layout
from veilray.text.dialect import PLAIN, Dialect

__all__ = ["Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The options of `veilray fit`, `check`, `release` and `obfuscate` that say how IMAGES are read.

    Attributes:
        layout: for a folder, how paths are read: a name that ships, a `.toml` file, or a `Layout`.
        root: for a manifest, the folder its paths are relative to and must stay in; its own by default.
        columns: role to column of a manifest or array file, where the names do not say it: `{"patient": "child"}`.
        split: take the images of this part alone: `train` of a `split` column, a folder, or `train_images`.
        images_per_patient: take the first so many images of each patient, by the order of the manifest or the sorted
            order of the folder. An image without a patient counts by itself.
        range: stored values of black and white, `"0:4095"` or `(0, 4095)`; `"full"` for the stored type's own; None
            for what the model says.
        invert: exchange black and white; None for what the model says.
        dialect: how a manifest is written; strict by default.

    Raises:
        ValueError: `images_per_patient` below 1, or a range that is none.
    """

    layout: str | os.PathLike[str] | Layout = "folders"
    root: str | os.PathLike[str] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    images_per_patient: int | None = None
    range: str | tuple[float, float] | None = None
    invert: bool | None = None
    dialect: Dialect = PLAIN

    def __post_init__(self) -> None:
        parse_range(self.range)
        most = self.images_per_patient
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ValueError(f"images per patient must be a whole number of 1 or more, got {most!r}")

    @property
    def base(self) -> Path | None:
        """The root as a path, where one was given."""
        return None if self.root is None else Path(self.root)

    @property
    def intensity(self) -> IntensityRule:
        """The public intensity rule, with the full range of the stored type where nothing was said."""
        return IntensityRule(parse_range(self.range), bool(self.invert))

    def for_model(self, rule: IntensityRule | None) -> Reading:
        """The same, with a model's intensity rule wherever the user said nothing else."""
        own = rule or FULL_RANGE
        return replace(
            self,
            range=(own.range or "full") if self.range is None else self.range,
            invert=own.invert if self.invert is None else self.invert,
        )

    def of_pictures(self) -> tuple[str, ...]:
        """The words that were said and mean nothing for a table, as the command line writes them."""
        plain = Reading()
        return tuple(
            name.replace("_", "-")
            for name in ("layout", "root", "columns", "split", "images_per_patient", "range", "invert")
            if getattr(self, name) != getattr(plain, name)
        )

    def asked(self) -> dict[str, Any]:
        """What a resumed run must be asked for again, as JSON types; what was not said is left out."""
        rule = self.intensity
        said = {
            "root": None if self.root is None else str(Path(self.root).absolute()),
            "layout": self.layout.name if isinstance(self.layout, Layout) else str(self.layout),
        }
        further = {
            "columns": dict(self.columns),
            "split": self.split,
            "images_per_patient": self.images_per_patient,
            "range": None if rule.range is None else list(rule.range),
            "invert": rule.invert,
            "dialect": self.dialect.told(),
        }
        return {**said, **{name: value for name, value in further.items() if value}}
