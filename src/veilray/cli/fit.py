"""`veilray fit`: train a method on public images and write the MODEL folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veilray.cli import options
from veilray.cli.opening import open_images
from veilray.cli.output import OUT, print_json, training_bar

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Train a method on public images.")


@app.callback()
def fit() -> None:
    """Train a method on public images and write the MODEL folder."""


@app.command("dp-glow")
def dp_glow(
    images: Annotated[Path, typer.Argument(help="Public images: folder tree, .npz, or manifest.")],
    out: Annotated[Path, typer.Option(help="MODEL: the folder to write.")],
    size: Annotated[int, typer.Option(help="Side of the pictures the model sees and makes, in pixels.")] = 32,
    levels: Annotated[int, typer.Option(help="Scales of the flow; size must be divisible by 2**levels.")] = 3,
    steps: Annotated[int, typer.Option(help="Flow steps a level.")] = 8,
    width: Annotated[int, typer.Option(help="Channels of the coupling networks.")] = 64,
    channels: Annotated[int, typer.Option(help="1 for grey, 3 for colour.")] = 1,
    bits: Annotated[int, typer.Option(help="Bit depth of the model: 8 or 16.")] = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="After the warm-up.")] = 1e-3,
    max_minutes: Annotated[float | None, typer.Option(help="Stop training after this time, keeping the best.")] = None,
    seed: Annotated[int, typer.Option(help="Initialisation, order and dequantisation.")] = 0,
    training_data: Annotated[
        str, typer.Option(help="What the images are, for the card: public, 'other patients' or 'not covered'.")
    ] = "not covered",
    statement: Annotated[str, typer.Option(help="One sentence for the card on where they come from.")] = "",
    name: Annotated[str | None, typer.Option(help="The model's name; default: the folder's.")] = None,
    layout: options.Layout = "folders",
    root: options.Root = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in MODEL.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Train a Glow by maximum likelihood, for release with noise on its latent."""
    from veilray.flows import keep_freed_memory
    from veilray.methods.dp_glow import DPGlow

    keep_freed_memory()
    with open_images(images, layout, root) as collection, training_bar() as on_progress:
        method = DPGlow.fit(
            collection,
            out,
            size=size,
            levels=levels,
            steps=steps,
            width=width,
            channels=channels,
            bits=bits,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            max_minutes=max_minutes,
            seed=seed,
            training_data=training_data,
            statement=statement,
            name=name or out.name,
            resume=resume,
            on_progress=on_progress,
        )
        refused = len(collection.quarantine)
    told = {"model": str(out), "quarantined": refused, **method.card.figures}
    if as_json:
        print_json(told)
    else:
        OUT.print(
            f"{out}: {method.card.training_images:,} training images, "
            f"{method.card.figures['validation_bits_per_dimension']:.3f} bits per dimension on held-out images"
        )
        if refused:
            OUT.print(f"{refused} files were refused: `veilray check` lists them with their reasons.", style="yellow")
    return 1 if refused else 0
