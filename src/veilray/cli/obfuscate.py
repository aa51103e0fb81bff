"""`veilray obfuscate`: pictures for training in someone else's cloud, without a claim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilray.cli import options
from veilray.cli.opening import open_images, reading_of
from veilray.cli.output import OUT, counted, print_json, progress_bar
from veilray.places import check_apart
from veilray.privacy.guarantee import EMPIRICAL

if TYPE_CHECKING:
    from veilray.methods.obfuscation import Key, Obfuscated

__all__ = ["obfuscate"]


def obfuscate(
    images: options.Images,
    model: Annotated[Path, typer.Option(help="MODEL: a folder written by `veilray fit obfuscation`.")],
    key: Annotated[Path, typer.Option(help="KEY: a file made by `veilray keys new`.")],
    out: Annotated[Path, typer.Option(help="OBFUSCATED: the new folder that goes to the cloud.")],
    record: Annotated[Path | None, typer.Option(help="RECORD: stays in the house. Default: beside the ledger.")] = None,
    label_policy: Annotated[str, typer.Option(help="public (labels.csv in clear) or withheld.")] = "public",
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
    """Obfuscate images for training or inference in someone else's cloud: empirical, no formal guarantee."""
    from veilray.ledger import default_ledger
    from veilray.methods.obfuscation import Obfuscation, obfuscate_folder, read_key
    from veilray.privacy import SystemEntropy

    reading = reading_of(layout, root, columns, split, images_per_patient, range, invert, dialect)
    known = read_key(key)
    fitted = Obfuscation.load(model)
    reading = reading.for_model(fitted.card.intensity)
    out = out.absolute()
    kept = default_ledger().absolute().parent / "records" / f"{out.name}-{SystemEntropy().bytes(4).hex()}"
    folder = kept if record is None else record.absolute()
    made = {"OBFUSCATED": out, "RECORD": folder}
    check_apart(made, {"MODEL": model, "KEY": key})
    with open_images(images, reading, made) as collection, progress_bar("obfuscating") as on_progress:
        obfuscated = obfuscate_folder(
            collection,
            fitted,
            known,
            out,
            folder,
            label_policy=label_policy,  # type: ignore[arg-type]  # checked where it is used
            on_progress=on_progress,
        )
    _tell(obfuscated, known, as_json)
    return 1 if obfuscated.quarantine else 0


def _tell(made: Obfuscated, key: Key, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "obfuscated": str(made.out),
                "record": str(made.record),
                "images": made.images,
                "labels": list(made.labels),
                "quarantined": len(made.quarantine),
                "key": key.identifier,
                "guarantee": None,
                "claim": EMPIRICAL,
            }
        )
        return
    OUT.print(f"Obfuscated: {counted(made.images, 'image')}: {EMPIRICAL}.", style="bold", highlight=False)
    OUT.print(f"OBFUSCATED  {made.out}   (this goes to the cloud)", highlight=False, soft_wrap=True)
    OUT.print(f"RECORD      {made.record}   (this never leaves)", highlight=False, soft_wrap=True)
    if made.labels:
        OUT.print(f"In clear, in labels.csv: {', '.join(made.labels)}", style="yellow", highlight=False, soft_wrap=True)
    if made.quarantine:
        refused = counted(len(made.quarantine), "file")
        OUT.print(f"{refused} refused; quarantine.csv in RECORD lists them.", style="yellow", soft_wrap=True)
