"""`veilray attack`: one attack on obfuscated pictures, with what it reconstructed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilray.cli import options
from veilray.cli.opening import open_images, reading_of
from veilray.cli.output import OUT, print_json, progress_bar
from veilray.places import check_apart
from veilray.privacy.guarantee import EMPIRICAL

if TYPE_CHECKING:
    from veilray.evaluation.attacks.intensity import PictureResult
    from veilray.evaluation.attacks.intensity.folders import Attacked

__all__ = ["attack"]

_SHOWN = 8
_INTERNAL = "internal: made with originals and RECORD, shows them, carries no claim, and may not steer a release"


def attack(
    name: Annotated[str, typer.Argument(help="The attack: key-reuse, known-pairs, u-net, ...; a wrong one lists all.")],
    release: Annotated[Path, typer.Option(help="OBFUSCATED: a folder made by `veilray obfuscate`.")],
    record: Annotated[Path, typer.Option(help="RECORD: of that folder.")],
    images: Annotated[Path, typer.Option(help="IMAGES: the originals that were obfuscated.")],
    own: Annotated[Path, typer.Option(help="IMAGES: the attacker's own, other patients than the originals.")],
    out: Annotated[Path, typer.Option(help="ATTACKED: the new folder for pictures and figures. It never leaves.")],
    known_pairs: Annotated[int, typer.Option(help="Pairs that the attacker knows.")] = 10,
    setting: Annotated[str, typer.Option(help="informed, uninformed or same-key.")] = "informed",
    model: Annotated[Path | None, typer.Option(help="MODEL: for pairs of the attacker's own; it is public.")] = None,
    key: Annotated[Path | None, typer.Option(help="KEY: for chosen plaintext only, with --model.")] = None,
    pictures: Annotated[int, typer.Option(help="Targets at most.")] = 100,
    layout: options.Layout = "folders",
    own_layout: Annotated[str, typer.Option(help="Like --layout, for --own.")] = "folders",
    root: options.Root = None,
    columns: options.Columns = None,
    dialect: options.Dialect = None,
    seed: Annotated[int, typer.Option(help="Which targets and pairs are taken, and the attack's own draws.")] = 0,
    as_json: options.AsJson = False,
) -> int:
    """Attack obfuscated pictures as somebody without the key would: empirical, no formal guarantee."""
    import numpy as np
    import torch

    from veilray.durable import whole_folder
    from veilray.evaluation.attacks.intensity import ATTACKS_ON_PICTURES, SETTINGS
    from veilray.evaluation.attacks.intensity.folders import open_attacked
    from veilray.images import Reading
    from veilray.methods.obfuscation import Obfuscation, read_key
    from veilray.releases.log import rule_of

    played = ATTACKS_ON_PICTURES[name]()
    if setting not in SETTINGS:
        raise ValueError(f"--setting must be one of {', '.join(SETTINGS)}, got {setting!r}")
    if known_pairs < 0 or pictures < 2:
        raise ValueError(f"--known-pairs must be at least 0 and --pictures 2, got {known_pairs} and {pictures}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be 0 to {2**32 - 1}, got {seed}")
    if own.resolve() == images.resolve():
        raise ValueError(f"--own must hold other pictures than --images, got {own} for both")
    made = {"ATTACKED": out}
    check_apart(made, {"OBFUSCATED": release})
    if key is not None and model is None:
        raise ValueError("--key must go with --model, got it alone")
    rule = rule_of(record)
    asked = reading_of(layout, root, columns, None, None, None, None, dialect)
    read_as, own_as = replace(asked, **rule), Reading(own_layout, **rule)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    with whole_folder(out, "ATTACKED", mode=0o700) as folder:
        with (
            open_images(images, read_as, made) as originals,
            open_images(own, own_as, made, what="--own") as others,
            progress_bar("reading what was obfuscated"),
        ):
            attacked = open_attacked(
                release,
                record,
                originals,
                others,
                rng,
                setting=setting,  # type: ignore[arg-type]  # checked above
                known_pairs=known_pairs,
                pictures=pictures,
                model=None if model is None else Obfuscation.load(model),
                key=None if key is None else read_key(key),
            )
        with progress_bar(f"attacking by {name}"):
            result = played.run(attacked.target, rng)
        told = _told(result, attacked)
        _write(folder, result, attacked, told)
    if as_json:
        print_json(told)
    else:
        _print(result, out)
    return 0


def _told(result: PictureResult, attacked: Attacked) -> dict[str, Any]:
    return {
        "claim": EMPIRICAL,
        "guarantee": None,
        "internal": _INTERNAL,
        "targets": len(attacked.names),
        "known_pairs": 0 if attacked.target.view.pairs is None else len(attacked.target.view.pairs),
        **result.to_row(),
    }


def _write(out: Path, result: PictureResult, attacked: Attacked, told: dict[str, Any]) -> None:
    """ATTACKED: figures.json, and where there are any, reconstructions under their targets' names and a sheet."""
    from veilray.images import write_image
    from veilray.report.sheet import Row, draw_sheet

    (out / "figures.json").write_text(json.dumps(told, indent=2) + "\n")
    if result.reconstructions is None or result.rows is None:
        return
    (out / "reconstructions").mkdir()
    for row, picture in zip(result.rows, result.reconstructions, strict=True):
        write_image(out / "reconstructions" / attacked.names[row], picture)
    first = result.rows[:_SHOWN]
    rows = [
        Row("original", attacked.target.originals[first]),
        Row("obfuscated", attacked.target.view.obfuscated[first]),
        Row(f"reconstructed\n({result.attack},\n{result.setting})", result.reconstructions[:_SHOWN]),
    ]
    draw_sheet(rows, out / "sheet.png", note=f"{EMPIRICAL}. {_INTERNAL.partition(':')[0]}")


def _print(result: PictureResult, out: Path) -> None:
    OUT.print(f"{result.attack} ({result.setting}): {result.protocol}", highlight=False, soft_wrap=True)
    OUT.print(f"knows: {result.knowledge}", highlight=False, soft_wrap=True)
    for heading, estimate in (
        ("obfuscated", result.released),
        ("not obfuscated at all", result.positive),
        ("knowing nothing", result.negative),
    ):
        OUT.print(f"  {heading:22} {estimate}", highlight=False)
    for measure, gain in result.gains.items():
        OUT.print(f"  {measure} above the mean image: {gain}", highlight=False)
    if not result.has_power:
        OUT.print("no power: the attack fails where nothing is hidden, and says nothing", style="yellow")
    OUT.print(f"ATTACKED  {out}   (this never leaves)", highlight=False, soft_wrap=True)
    OUT.print(f"Obfuscation: {EMPIRICAL}.", highlight=False)
