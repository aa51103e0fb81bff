"""`veilray fit obfuscation`: an autoencoder and a family of intensity maps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilray.cli import options
from veilray.cli.opening import READING, reading_of, scanned
from veilray.cli.output import OUT, print_json, print_quarantine, progress_stages
from veilray.places import check_apart
from veilray.privacy.guarantee import EMPIRICAL

if TYPE_CHECKING:
    from veilray.images import Collection

__all__ = ["obfuscation"]


def obfuscation(
    images: Annotated[Path, typer.Argument(help="Public images: folder tree, .npz, or manifest.")],
    out: Annotated[Path, typer.Option(help="MODEL: the folder to write.")],
    encoder: Annotated[str, typer.Option(help="vae, pca or none.")] = "vae",
    order: Annotated[str, typer.Option(help="map-last, map-first or no-map.")] = "map-last",
    map_levels: Annotated[int, typer.Option(help="Target levels of a map, 2 to 256.")] = 64,
    map_smoothness: Annotated[float, typer.Option(help="0 (any function) to 1 (monotone with collisions).")] = 0.0,
    map_scope: Annotated[str, typer.Option(help="Who shares a map: image (nobody), batch or key (all).")] = "image",
    map_batch: Annotated[int, typer.Option(help="Images that share a map, for --map-scope batch.")] = 64,
    encoding: Annotated[str, typer.Option(help="The autoencoder's code: mean or sampled.")] = "mean",
    features: Annotated[int | None, typer.Option(help="Numbers of the autoencoder's code. Default: by size.")] = None,
    kl_weight: Annotated[float | None, typer.Option(help="Weight of the VAE's KL term. Default: 1.")] = None,
    size: Annotated[int, typer.Option(help="Side of the pictures, in pixels.")] = 64,
    channels: Annotated[int, typer.Option(help="1 for grey, 3 for colour.")] = 1,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 20,
    max_minutes: Annotated[float | None, typer.Option(help="Stop training after this time, keeping the best.")] = None,
    seed: Annotated[int, typer.Option(help="Initialisation and order of the training; no map comes from it.")] = 0,
    training_data: Annotated[
        str, typer.Option(help="What the images are, for the card: public, 'other patients' or 'not covered'.")
    ] = "not covered",
    statement: Annotated[str, typer.Option(help="One sentence for the card on where they come from.")] = "",
    name: Annotated[str | None, typer.Option(help="The model's name; default: the folder's.")] = None,
    layout: options.Layout = "folders",
    root: options.Root = None,
    split: options.Split = None,
    images_per_patient: options.ImagesPerPatient = None,
    range: options.Range = None,
    invert: options.Invert = None,
    columns: options.Columns = None,
    dialect: options.Dialect = None,
    as_json: options.AsJson = False,
) -> int:
    """Fit an autoencoder and choose a family of intensity maps: empirical, no formal guarantee."""
    from veilray.flows import keep_freed_memory
    from veilray.methods.obfuscation import Obfuscation

    keep_freed_memory()
    reading = reading_of(layout, root, columns, split, images_per_patient, range, invert, dialect)
    further = {"features": features, "kl_weight": kl_weight}
    check_apart({"MODEL": out}, {"IMAGES": images})
    collections: list[Collection] = []
    with (
        contextlib.ExitStack() as opened,
        progress_stages(*READING, "training", begun=False) as (on_found, on_read, on_progress),
    ):

        def collection() -> Collection:  # opened once the options are known to fit: that may take long
            collections.append(scanned(images, reading, {"MODEL": out}, on_found, on_read))
            return opened.enter_context(collections[0])

        model = Obfuscation.fit(
            collection,
            out,
            size=size,
            channels=channels,
            encoder=encoder,
            order=order,  # type: ignore[arg-type]  # checked where it is used
            map_levels=map_levels,
            map_smoothness=map_smoothness,
            map_scope=map_scope,  # type: ignore[arg-type]  # checked where it is used
            map_batch=map_batch,
            encoding=encoding,  # type: ignore[arg-type]  # checked where it is used
            epochs=epochs,
            max_minutes=max_minutes,
            seed=seed,
            training_data=training_data,
            statement=statement,
            name=name or out.name,
            on_progress=on_progress,
            **{what: value for what, value in further.items() if value is not None},
        )
        refused = [entry for each in collections for entry in each.quarantine]
    figures = model.card.figures
    if as_json:
        print_json({"model": str(out), "quarantined": len(refused), **figures, "guarantee": None, "claim": EMPIRICAL})
        return 1 if refused else 0
    OUT.print(f"{out}: {model.card.training_images:,} training images", highlight=False, soft_wrap=True)
    if model.autoencoder is not None:
        shown = ", ".join(f"{what.removeprefix('encoder_')} {value:.4g}" for what, value in _of_encoder(figures))
        OUT.print(f"{encoder} on held-out images: {shown}", highlight=False, soft_wrap=True)
    if "residual_bits" in figures:
        OUT.print(
            f"A map leaves open {figures['residual_bits']:.2f} bits a pixel to one who knows it "
            f"({figures['residual_bits_uniform']:.2f} for uniform pixels); it keeps "
            f"{figures['edges_kept']:.0%} of the edges and {figures['level_sets_kept']:.0%} of the level sets.",
            highlight=False,
            soft_wrap=True,
        )
    OUT.print(f"Obfuscation: {EMPIRICAL}.", highlight=False)
    print_quarantine(refused)
    return 1 if refused else 0


def _of_encoder(figures: dict[str, float]) -> list[tuple[str, float]]:
    return [(what, value) for what, value in figures.items() if what.startswith("encoder_")]
