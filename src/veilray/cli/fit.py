"""`veilray fit`: train a method on public images and write the MODEL folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from veilray.cli import fit_obfuscation, options
from veilray.cli.opening import READING, parse_pairs, reading_of, scanned
from veilray.cli.output import OUT, STATUS, print_json, training_bar
from veilray.places import check_apart

if TYPE_CHECKING:
    from veilray.images import Collection

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Train a method on public images.")
app.command("obfuscation")(fit_obfuscation.obfuscation)


@app.callback()
def fit() -> None:
    """Train a method on public images and write the MODEL folder."""


Out: TypeAlias = Annotated[Path, typer.Option(help="MODEL: the folder to write.")]
Public: TypeAlias = Annotated[Path, typer.Argument(help="Public images: folder tree, .npz, or manifest.")]
Size: TypeAlias = Annotated[int, typer.Option(help="Side of the pictures the model sees and makes, in pixels.")]
Levels: TypeAlias = Annotated[int, typer.Option(help="Scales of the flow; size must be divisible by 2**levels.")]
Steps: TypeAlias = Annotated[int, typer.Option(help="Flow steps a level.")]
Width: TypeAlias = Annotated[int, typer.Option(help="Channels of the coupling networks.")]
Channels: TypeAlias = Annotated[int, typer.Option(help="1 for grey, 3 for colour.")]
Bits: TypeAlias = Annotated[int, typer.Option(help="Bit depth of the model: 8 or 16.")]
Epochs: TypeAlias = Annotated[int, typer.Option(help="Passes over the training images.")]
BatchSize: TypeAlias = Annotated[int, typer.Option(help="Images a step.")]
LearningRate: TypeAlias = Annotated[float, typer.Option(help="After the warm-up.")]
MaxMinutes: TypeAlias = Annotated[float | None, typer.Option(help="Stop training after this time, keeping the best.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Initialisation, order and dequantisation.")]
TrainingData: TypeAlias = Annotated[
    str,
    typer.Option(
        help="What the records are, for every card: public, 'other patients', 'other records' or 'not covered'. "
        "`release` refuses the last."
    ),
]
Statement: TypeAlias = Annotated[
    str, typer.Option(help="One sentence for every card on where they come from; needed unless 'not covered'.")
]
Name: TypeAlias = Annotated[str | None, typer.Option(help="The model's name; default: the folder's.")]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in MODEL.")]

Code: TypeAlias = Annotated[str, typer.Option(help="What is kept of a picture: content, gram or levels.")]
ContentOf: TypeAlias = Annotated[
    str | None, typer.Option("--content", help="What a content code is made of: invariant (default), pixels or vae.")
]
Keep: TypeAlias = Annotated[
    int | None, typer.Option(help="Numbers kept of a picture. Default: chosen on the public images.")
]
ForEpsilon: TypeAlias = Annotated[
    str, typer.Option(help="The whole-image epsilon that releases will mostly have: K is chosen for it.")
]
Classes: TypeAlias = Annotated[
    int | None, typer.Option(help="Kinds of pictures that learners will tell apart. Default: the label levels, or 10.")
]
CodeEpochs: TypeAlias = Annotated[
    int | None, typer.Option(help="Passes over the images for the content's network. Default: about 2,000 steps.")
]


Condition: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Facts that encoder and decoder are told, with commas. Default: label; of a table: none."),
]
TableSchema: TypeAlias = Annotated[
    Path | None, typer.Option("--schema", help="IMAGES is a table with this schema: `veilray check TABLE` drafts one.")
]
Couplings: TypeAlias = Annotated[int | None, typer.Option(help="Of a table's flow. Default: 8.")]
WidthOf: TypeAlias = Annotated[
    int | None, typer.Option("--width", help="Of the coupling networks. Default: 64 channels; of a table 128 units.")
]
EpochsOf: TypeAlias = Annotated[
    int | None,
    typer.Option("--epochs", help="Passes over the training images or rows. Default: 30; of a table 4,000 steps."),
]
BatchSizeOf: TypeAlias = Annotated[
    int | None, typer.Option("--batch-size", help="Images or rows a step. Default: 32; of a table 32 to 256.")
]
Bounds: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="NAME=LOW:HIGH: public bounds of a condition that is a number.")
]
Task: TypeAlias = Annotated[
    str | None, typer.Option(help="What learners will be asked for: one of the conditions (the first), or picture.")
]
KeepDirections: TypeAlias = Annotated[
    int | None,
    typer.Option("--keep", help="Directions of the latent that may be kept. Default: 32; of a table all."),
]
Coupling: TypeAlias = Annotated[str, typer.Option(help="affine, or gin (volume-preserving).")]
Downsampling: TypeAlias = Annotated[str, typer.Option(help="checkerboard, or reshape (as published).")]


@app.command("dp-glow")
def dp_glow(
    images: Public,
    out: Out,
    size: Size = 32,
    levels: Levels = 3,
    steps: Steps = 8,
    width: Width = 64,
    channels: Channels = 1,
    bits: Bits = 8,
    epochs: Epochs = 30,
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 1e-3,
    max_minutes: MaxMinutes = None,
    seed: Seed = 0,
    training_data: TrainingData = "not covered",
    statement: Statement = "",
    name: Name = None,
    layout: options.Layout = "folders",
    root: options.Root = None,
    split: options.Split = None,
    images_per_patient: options.ImagesPerPatient = None,
    range: options.Range = None,
    invert: options.Invert = None,
    columns: options.Columns = None,
    dialect: options.Dialect = None,
    resume: Resume = False,
    as_json: options.AsJson = False,
) -> int:
    """Train a Glow by maximum likelihood, for release with noise on its latent."""
    return _fit("dp-glow", locals())


@app.command("directional", help="Choose what to keep of a picture and train its decoder, for release of a direction.")
@app.command("selection", help="As directional, and draw the public list of pictures that releases are chosen from.")
def kept_code(
    context: typer.Context,
    images: Public,
    out: Out,
    code: Code = "content",
    content: ContentOf = None,
    keep: Keep = None,
    for_epsilon: ForEpsilon = "1",
    classes: Classes = None,
    code_epochs: CodeEpochs = None,
    size: Size = 32,
    levels: Levels = 3,
    steps: Steps = 8,
    width: Width = 64,
    channels: Channels = 1,
    bits: Bits = 8,
    epochs: Epochs = 30,
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 1e-3,
    max_minutes: MaxMinutes = None,
    seed: Seed = 0,
    training_data: TrainingData = "not covered",
    statement: Statement = "",
    name: Name = None,
    layout: options.Layout = "folders",
    root: options.Root = None,
    split: options.Split = None,
    images_per_patient: options.ImagesPerPatient = None,
    range: options.Range = None,
    invert: options.Invert = None,
    columns: options.Columns = None,
    dialect: options.Dialect = None,
    resume: Resume = False,
    as_json: options.AsJson = False,
) -> int:
    """Choose what to keep of a picture and train its decoder; the command's name is the method's."""
    given = {name: value for name, value in locals().items() if name != "context"}
    return _fit(str(context.info_name), given)


@app.command("cadp")
def cadp(
    context: typer.Context,
    images: Annotated[Path, typer.Argument(help="Public images, or with --schema a public table.")],
    out: Out,
    condition: Condition = "label",
    bounds: Bounds = None,
    task: Task = None,
    keep: KeepDirections = None,
    schema: TableSchema = None,
    couplings: Couplings = None,
    size: Size = 32,
    levels: Levels = 3,
    steps: Steps = 8,
    width: WidthOf = None,
    coupling: Coupling = "affine",
    downsampling: Downsampling = "checkerboard",
    channels: Channels = 1,
    bits: Bits = 8,
    epochs: EpochsOf = None,
    batch_size: BatchSizeOf = None,
    learning_rate: LearningRate = 1e-3,
    max_minutes: MaxMinutes = None,
    seed: Seed = 0,
    training_data: TrainingData = "not covered",
    statement: Statement = "",
    name: Name = None,
    layout: options.Layout = "folders",
    root: options.Root = None,
    split: options.Split = None,
    images_per_patient: options.ImagesPerPatient = None,
    range: options.Range = None,
    invert: options.Invert = None,
    columns: options.Columns = None,
    dialect: options.Dialect = None,
    resume: Resume = False,
    as_json: options.AsJson = False,
) -> int:
    """Train a flow under conditions and rank the directions of its latent, for release under a diagnosis."""
    given = {name: value for name, value in locals().items() if name != "context" and value is not None}
    if schema is not None:
        return _fit_table(given, context)
    if couplings is not None:
        raise ValueError("--couplings must go with --schema: it is of a table's flow")
    return _fit(
        "cadp", {"name": None, **dict.fromkeys(_READING), **given, "bounds": parse_pairs(bounds or [], "--bounds")}
    )


_OF_TABLES = (
    "condition",
    "task",
    "keep",
    "couplings",
    "width",
    "epochs",
    "batch_size",
    "learning_rate",
    "max_minutes",
    "seed",
    "training_data",
    "statement",
    "name",
    "resume",
)


def warn_not_covered(training_data: str) -> None:
    """Say before the hours of training what `release` will say after them."""
    if training_data == "not covered":
        STATUS.print(
            "--training-data is 'not covered': `veilray release` will refuse this model unless "
            "--allow-trained-on-released is given. If the records are public or of other patients, say so here.",
            style="yellow",
            soft_wrap=True,
        )


_READING = ("layout", "root", "columns", "split", "images_per_patient", "range", "invert", "dialect")


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _fit_table(given: dict[str, Any], context: typer.Context) -> int:
    """Fit `cadp` on a public table."""
    from veilray.api_tables import read_with
    from veilray.methods.tables import CADPTable

    table, schema, out, as_json = (given[name] for name in ("images", "schema", "out", "as_json"))
    also = {*_OF_TABLES, "images", "schema", "out", "as_json", "dialect"}
    foreign = [name for name in given if name not in also and _was_given(context, name)]
    if foreign:
        raise ValueError(f"--{foreign[0].replace('_', '-')} must be left out for a table: it is of pictures")
    check_apart({"MODEL": out}, {"TABLE": table, "--schema": schema})
    warn_not_covered(given["training_data"])
    with training_bar(("reading the table",)) as (on_progress, (on_read,)):
        records, refused = read_with(table, schema, on_read, given.get("dialect"), keep_dialect=True)
        options = {name: given[name] for name in _OF_TABLES if name in given and _was_given(context, name)}
        model = CADPTable.fit(records, out, **{"name": out.name, **options}, on_progress=on_progress)
    figures = model.card.figures
    if as_json:
        print_json({"model": str(out), "refused_rows": len(refused), **figures})
        return 1 if refused else 0
    OUT.print(
        f"{out}: {model.card.training_images:,} training rows, {figures['kept']:.0f} directions of "
        f"{model.flow.config.dimension} columns, {figures['validation_bits_per_dimension']:.3f} bits per dimension on "
        "held-out rows",
        soft_wrap=True,
    )
    if refused:
        OUT.print(f"{len(refused):,} rows were refused: `veilray check` lists them with their reasons.", style="yellow")
    return 1 if refused else 0


_STAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dp-glow": ((), ()),
    "directional": (("fitting the code",), ()),
    "selection": (("fitting the code",), ()),
    "cadp": ((), ("ranking directions",)),
}
"""What each method does before and after it trains a flow."""


def _fit(kind: str, given: dict[str, Any]) -> int:
    """Fit a method with the options of its command; those that say where and how to read and print are taken out."""
    from veilray.flows import keep_freed_memory
    from veilray.methods import METHODS

    keep_freed_memory()
    images, out, as_json = (given.pop(name) for name in ("images", "out", "as_json"))
    reading = reading_of(**{name: given.pop(name) for name in _READING})
    given["name"] = given["name"] or out.name
    check_apart({"MODEL": out}, {"IMAGES": images})
    warn_not_covered(given["training_data"])
    before, after = _STAGES[kind]
    with (
        contextlib.ExitStack() as opened,
        training_bar((*READING, *before), after, begun=False) as (on_progress, (on_found, on_read, *others)),
    ):
        collections: list[Collection] = []

        def collection() -> Collection:  # opened once the options are known to fit: that may take long
            collections.append(scanned(images, reading, {"MODEL": out}, on_found, on_read))
            return opened.enter_context(collections[0])

        told = dict(zip(("on_code",), others, strict=False))
        method = METHODS[kind].fit(collection, out, on_progress=on_progress, **told, **given)
        refused = sum(len(each.quarantine) for each in collections)
    if as_json:
        print_json({"model": str(out), "quarantined": refused, **method.card.figures})
        return 1 if refused else 0
    figures = method.card.figures
    what = "directions of the latent may be kept" if kind == "cadp" else "numbers kept of a picture"
    kept = f"{figures['kept']:.0f} {what}, " if "kept" in figures else ""
    OUT.print(
        f"{out}: {method.card.training_images:,} training images, {kept}"
        f"{figures['validation_bits_per_dimension']:.3f} bits per dimension on held-out images",
        soft_wrap=True,
    )
    if refused:
        OUT.print(f"{refused} files were refused: `veilray check` lists them with their reasons.", style="yellow")
    return 1 if refused else 0
