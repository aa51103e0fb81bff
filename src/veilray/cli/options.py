"""Options that mean the same on every command: one meaning a word, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AsJson",
    "Bound",
    "Candidates",
    "Clip",
    "Columns",
    "Delta",
    "Dialect",
    "Images",
    "ImagesPerPatient",
    "Invert",
    "Layout",
    "Ledger",
    "Mechanism",
    "MechanismOption",
    "Model",
    "Radius",
    "Range",
    "Root",
    "Split",
    "Unit",
]

Images: TypeAlias = Annotated[Path, typer.Argument(help="Folder tree, .npz, or manifest (.csv, .parquet, .xlsx).")]
Layout: TypeAlias = Annotated[str, typer.Option(help="Rule for patient and label: folders, kermany, or a TOML file.")]
Root: TypeAlias = Annotated[Path | None, typer.Option(help="Folder that the manifest's paths are relative to.")]
Split: TypeAlias = Annotated[
    str | None, typer.Option(help="Take this part alone: of a split column or folder, or train_images of an .npz.")
]
ImagesPerPatient: TypeAlias = Annotated[
    int | None, typer.Option(help="Take the first N images of each patient, by the order of the manifest.")
]
Range: TypeAlias = Annotated[
    str | None,
    typer.Option(help="LOW:HIGH: the stored values of black and white, such as 0:4095. Default: the model's, or full."),
]
Invert: TypeAlias = Annotated[
    bool | None, typer.Option("--invert/--no-invert", help="Exchange black and white. Default: as the model, or not.")
]
Columns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="ROLE=NAME,...: which column is path, patient, group, label or split. Default: by its name."),
]
Dialect: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="How a table or manifest is written: NAME=VALUE, repeated (delimiter, decimal, thousands, date, encoding, "
        "missing, sheet), or a TOML or YAML file."
    ),
]
Model: TypeAlias = Annotated[str, typer.Option(help="Folder written by `veilray fit`.")]
Ledger: TypeAlias = Annotated[
    str | None,
    typer.Option("--ledger", help="File or sqlite:///FILE. Default: $VEILRAY_LEDGER, or the user's data folder."),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Unit: TypeAlias = Annotated[str, typer.Option(help="What epsilon is about: image, or element (as published).")]
Delta: TypeAlias = Annotated[str, typer.Option(help="For mechanisms that are not pure.")]
Mechanism: TypeAlias = Annotated[str | None, typer.Option(help="A registered mechanism. Default: the model's own.")]
Bound: TypeAlias = Annotated[str | None, typer.Option(help="box, l1-ball or l2-ball; default: the mechanism's own.")]
Clip: TypeAlias = Annotated[str | None, typer.Option(help="Half side of the box that latents are clipped to.")]
Radius: TypeAlias = Annotated[str | None, typer.Option(help="Radius of the ball, for --bound l1-ball or l2-ball.")]
Candidates: TypeAlias = Annotated[int | None, typer.Option(help="Public candidates, for --mechanism selection.")]
MechanismOption: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="NAME=VALUE: further public options of the mechanism, such as form=sphere.")
]
