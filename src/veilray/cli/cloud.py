"""`veilray cloud-train` and `veilray cloud-predict`: the other side, which sees no key and no original."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from veilray.cli import options
from veilray.cli.output import OUT, counted, print_json, progress_stages
from veilray.privacy.guarantee import EMPIRICAL

__all__ = ["cloud_predict", "cloud_train"]

Obfuscated: TypeAlias = Annotated[Path, typer.Argument(help="OBFUSCATED: a folder made by `veilray obfuscate`.")]


def cloud_train(
    obfuscated: Obfuscated,
    out: Annotated[Path, typer.Option(help="CLASSIFIER: the new folder to write.")],
    network: Annotated[
        str, typer.Option(help="cnn or resnet; level-sets or levels: a cnn that is told more of each grey level.")
    ] = "level-sets",
    epochs: Annotated[int, typer.Option(help="Passes over the pictures.")] = 20,
    batch_size: Annotated[int, typer.Option(help="Pictures a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="The highest of the cycle.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Initialisation, held-out tenth and order.")] = 0,
    as_json: options.AsJson = False,
) -> int:
    """Train a classifier on obfuscated pictures, two classes or more (empirical, no formal guarantee)."""
    from veilray.cloud import CLOUD_TRAINING
    from veilray.cloud import cloud_train as run

    settings = replace(CLOUD_TRAINING, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    with progress_stages("reading pictures", "training", begun=False) as (on_read, on_progress):
        classifier = run(obfuscated, out, network=network, settings=settings, on_read=on_read, on_progress=on_progress)
    figures = classifier.card.figures
    if as_json:
        levels = list(classifier.card.levels)
        print_json({"classifier": str(out), "levels": levels, **figures, "guarantee": None, "claim": EMPIRICAL})
        return 0
    OUT.print(
        f"{out}: {figures['training_images']:,.0f} training images, {len(classifier.card.levels)} classes, accuracy "
        f"{figures['validation_accuracy']:.3f} on a held-out tenth, {figures['seconds_per_epoch']:.2f} s an epoch",
        highlight=False,
        soft_wrap=True,
    )
    OUT.print(f"Trained on obfuscated pictures: {EMPIRICAL}.", highlight=False)
    return 0


def cloud_predict(
    classifier: Annotated[Path, typer.Argument(help="CLASSIFIER: a folder made by `veilray cloud-train`.")],
    obfuscated: Obfuscated,
    out: Annotated[Path, typer.Option(help="CSV: the new table of predictions, one row a picture.")],
    allow_other_key: Annotated[
        bool,
        typer.Option(
            "--allow-other-key",
            help="Take pictures under another key than in training; that the model is the same is taken on trust.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Predict for obfuscated pictures sent later (empirical, no formal guarantee)."""
    from veilray.cloud import cloud_predict as run

    with progress_stages("reading pictures", "predicting", begun=False) as (on_read, on_progress):
        predicted = run(
            classifier,
            obfuscated,
            out,
            allow_other_key=allow_other_key,
            on_read=on_read,
            on_progress=on_progress,
        )
    if as_json:
        told = {"predictions": str(out), "pictures": len(predicted.paths), **predicted.figures}
        print_json({**told, "guarantee": None, "claim": EMPIRICAL})
        return 0
    OUT.print(f"{out}: {counted(len(predicted.paths), 'prediction')}", highlight=False, soft_wrap=True)
    if predicted.figures:
        shown = ", ".join(f"{what} {value:.3f}" for what, value in predicted.figures.items() if what != "images")
        OUT.print(f"On the {predicted.figures['images']:,.0f} pictures with a label: {shown}", highlight=False)
    OUT.print(f"Predicted from obfuscated pictures: {EMPIRICAL}.", highlight=False)
    return 0
