"""`veilray check`: what a release would do, before it does it. Spends nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from veilray.cli import options
from veilray.cli.check_training import print_training, training_told
from veilray.cli.opening import open_images, parse_pairs, reading_of
from veilray.cli.output import OUT, counted, print_card, print_json, print_quarantine, progress_bar

__all__ = ["check"]

_FAR = 0.5  # half of the images lie where the model's own do not
_DARK = 0.1  # of the range: below, the container is wider than what was put into it
_SAMPLE = 64


def check(
    images: Annotated[Path, typer.Argument(help="Images as `veilray fit` takes them, or a table.")],
    model: Annotated[str | None, typer.Option(help="Folder written by `veilray fit`.")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Of a table; default: that of the model. Without both, one is drafted.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the draft of a table's schema goes. Default: beside the table.")
    ] = None,
    epsilon: Annotated[str | None, typer.Option(help="Also show what this claim would spend.")] = None,
    unit: options.Unit = "image",
    mechanism: options.Mechanism = None,
    delta: options.Delta = "0",
    clip: options.Clip = None,
    radius: options.Radius = None,
    mechanism_option: options.MechanismOption = None,
    candidates: options.Candidates = None,
    bound: options.Bound = None,
    layout: options.Layout = "folders",
    root: options.Root = None,
    split: options.Split = None,
    images_per_patient: options.ImagesPerPatient = None,
    range: options.Range = None,
    invert: options.Invert = None,
    columns: options.Columns = None,
    dialect: options.Dialect = None,
    preview: Annotated[
        Path | None, typer.Option(help="Write a picture of what this claim does to the model's own samples.")
    ] = None,
    as_json: options.AsJson = False,
) -> int:
    """Count, look for trouble, measure the distance from the model's domain. Internal: shows originals' properties."""
    from veilray.api import open_model
    from veilray.api_tables import holds_table
    from veilray.flows import keep_freed_memory
    from veilray.privacy import Claim
    from veilray.releases import plan_release, trained_on

    keep_freed_memory()
    reading = reading_of(layout, root, columns, split, images_per_patient, range, invert, dialect)
    if out is not None and (model is not None or schema is not None):
        raise ValueError("--out must go with neither --model nor --schema: it is where a drafted schema goes")
    if schema is not None or model is None or holds_table(model):
        if preview is not None:
            raise ValueError("--preview must be left out for a table: it is a picture")
        if of_pictures := reading.of_pictures():
            raise ValueError(f"--{of_pictures[0]} must be left out for a table: it is of pictures")
        further = parse_pairs(mechanism_option or [], "--mechanism-option")
        named = {"clip": clip, "radius": radius, "bound": bound, "candidates": candidates, **further}
        return _table(images, model, schema, out, dialect, as_json, (epsilon, delta, unit, mechanism, named))
    _check_preview(preview, epsilon)
    made = {} if preview is None else {"--preview": preview}
    method = open_model(model)
    drawn_by = None
    if epsilon is not None:
        claim = Claim.of(epsilon, delta, unit)  # type: ignore[arg-type]  # Claim checks the unit itself
        further = parse_pairs(mechanism_option or [], "--mechanism-option")
        drawn_by = method.calibrated(
            claim, mechanism, clip=clip, radius=radius, bound=bound, candidates=candidates, **further
        )
    with open_images(images, reading.for_model(method.card.intensity), made) as collection:
        sources = [ref.source for ref in collection.refs]
        told = {
            **_counts(collection),
            "brightest": _brightest(collection),
            "domain": _domain(method, collection),
            "training": training_told(method.card.training, trained_on(collection, method), sources),
        }
        guarantee = None
        if drawn_by is not None:
            guarantee = plan_release(collection, method, drawn_by, (), allow_trained_on_released=True).guarantee
    if drawn_by is not None and guarantee is not None:
        told["guarantee"] = guarantee.to_dict()
        spent = guarantee.patient_epsilon
        told["largest_patient_would_spend"] = None if spent is None else str(spent)
        if preview is not None:
            from veilray.report import preview_sheet

            with progress_bar("drawing the preview"):
                preview_sheet(method, drawn_by, preview)
            told["preview"] = str(preview)
    if as_json:
        print_json(told)
    else:
        _print(told)
        print_quarantine(collection.quarantine)
        if guarantee is not None:
            print_card(guarantee, title="What would be claimed, before any condition is released")
    return 1 if told["quarantine"] or told["training"]["release_refuses"] else 0


def _check_preview(preview: Path | None, epsilon: str | None) -> None:
    """A picture of what a claim does needs a claim, and a new file. Raises ValueError otherwise."""
    if preview is None:
        return
    if epsilon is None:
        raise ValueError("--preview must go with --epsilon, got none")
    from veilray.report import check_preview

    check_preview(preview)


def _table(
    table: Path,
    model: str | None,
    schema: Path | None,
    out: Path | None,
    dialect: list[str] | None,
    as_json: bool,
    asked: tuple[str | None, str, str, str | None, dict[str, Any]],
) -> int:
    """What `check` does with a table: draft a schema, or look at the table through one."""
    from veilray.api_tables import open_table_model
    from veilray.cli.check_table import check_table, draft_table
    from veilray.privacy import Claim
    from veilray.tables import EXTENSIONS, Schema
    from veilray.text import read_dialect

    if table.suffix.lower() not in EXTENSIONS:
        cure = "" if model is not None or schema is not None else ": give the --model of images"
        raise ValueError(f"TABLE must end in {', '.join(EXTENSIONS)}, got {table}{cure}")
    if model is None and schema is None:
        return draft_table(table, out, dialect, as_json=as_json)
    method = None if model is None else open_table_model(model)
    epsilon, delta, unit, mechanism, named = asked
    if epsilon is not None and method is None:
        raise ValueError("--epsilon must go with --model: the claim is of a model's release")
    drawn_by = None
    if epsilon is not None and method is not None:
        drawn_by = method.calibrated(Claim.of(epsilon, delta, unit), mechanism, **named)  # type: ignore[arg-type]
    used = Schema.from_yaml(schema) if schema is not None else method.schema if method is not None else None
    assert used is not None
    written = read_dialect(dialect, used.dialect)
    return check_table(table, used, method, drawn_by, dialect=written, as_json=as_json)


def _counts(collection: Any) -> dict[str, Any]:
    refs = collection.refs
    patients = collection.patients()
    known = not collection.unidentified
    return {
        "images": len(refs),
        "patients": len(patients) if known else None,
        "images_without_patient": collection.unidentified,
        "images_of_the_largest_patient": max(patients.values()) if known else None,
        "labels": dict(sorted(Counter(ref.label or "(none)" for ref in refs).items())),
        "formats": dict(sorted(Counter(f"{ref.channels} x {ref.bits} bit" for ref in refs).items())),
        "sizes": _sizes(refs),
        "duplicates": sum(len(group) - 1 for group in collection.duplicates),
        "skipped": dict(sorted(collection.skipped.items())),
        "quarantine": [{"source": entry.source, "reason": entry.reason} for entry in collection.quarantine],
    }


def _sizes(refs: Any) -> str:
    if not refs:
        return "none"
    widths, heights = [ref.width for ref in refs], [ref.height for ref in refs]
    return f"{min(widths)}-{max(widths)} columns, {min(heights)}-{max(heights)} rows"


def _brightest(collection: Any) -> dict[str, Any]:
    """The brightest pixel of a sample that is chosen by hash: its share of the range, and its largest stored value."""
    import numpy as np

    from veilray.images import hash_fraction

    share, stored = 0.0, 0.0
    by_hash = sorted(collection.refs, key=lambda ref: hash_fraction(f"{ref.source}#{ref.frame}", "veilray-check:"))
    for ref in by_hash[:_SAMPLE]:
        values = collection.read_original(ref)
        seen = collection.reading.intensity.apply(values)
        share = max(share, float(seen.max()) / (2 ** (8 * seen.dtype.itemsize) - 1))
        stored = max(stored, float(values.max(where=np.isfinite(values), initial=0)))
    return {"share_of_range": round(share, 4), "stored": int(stored) if stored.is_integer() else stored}


def _domain(method: Any, collection: Any) -> dict[str, Any] | None:
    """Share of images far from the model's domain; None for a method without a likelihood."""
    import numpy as np

    if method.domain is None or not collection.refs:
        return None
    scores = []
    with progress_bar("measuring distance") as progress:
        done = 0
        for refs, batch in collection.batches(method.geometry, 64):
            scores.append(method.domain_scores(batch))
            done += len(refs)
            progress(done, len(collection.refs))
    measured = np.concatenate(scores)
    return {
        "median_score": round(float(np.median(measured)), 3),
        "model_median_score": round(method.domain.median, 3),
        "share_outside": round(float(method.domain.outside(measured).mean()), 4),
        "separation": round(method.domain.separation(measured), 3),
    }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def _darkness(brightest: dict[str, Any]) -> str:
    """The warning, with the smallest range of whole bits that holds what was seen."""
    stored = brightest["stored"]
    white = 2 ** max(int(stored).bit_length(), 8) - 1 if stored > 0 else 0
    cure = f"state the stored values of black and white, such as --range 0:{white}" if white else "all are black"
    return (
        f"no pixel of a sample is above {100 * brightest['share_of_range']:.1f} % of the range (largest stored value "
        f"{stored:,}): the pictures are nearly black; {cure}"
    )


def _print(told: dict[str, Any]) -> None:
    patients = "no patient key"
    if told["patients"] is not None:
        patients = counted(told["patients"], "patient")
    elif told["images_without_patient"] < told["images"]:
        patients += f" for {counted(told['images_without_patient'], 'image')}: then no claim is about a patient"
    OUT.print(f"{counted(told['images'], 'image')}, {patients}; {told['sizes']}")
    if told["images_of_the_largest_patient"]:
        OUT.print(f"largest patient: {counted(told['images_of_the_largest_patient'], 'image')}")
    for kind in ("labels", "formats"):
        OUT.print(f"{kind}: " + _listed(told[kind]), markup=False)
    OUT.print(f"exact duplicates: {told['duplicates']:,}")
    if told["skipped"]:
        OUT.print(f"skipped, no images: {_listed(told['skipped'])}", soft_wrap=True)
    if told["brightest"]["share_of_range"] < _DARK:
        OUT.print(_darkness(told["brightest"]), style="yellow", soft_wrap=True)
    domain = told["domain"]
    if domain is not None:
        far = domain["separation"] > _FAR
        OUT.print(
            f"distance from the model's own images: {domain['separation']:.2f} (0 one kind, 1 two kinds); "
            f"{100 * domain['share_outside']:.0f} % lie outside its middle 98 %"
            + ("; another kind than the model knows: train one on this kind" if far else ""),
            style="yellow" if far else "",
        )
    print_training(told["training"])
    if told.get("largest_patient_would_spend"):
        OUT.print(f"the largest patient would spend epsilon {told['largest_patient_would_spend']}")
    OUT.print("Internal: this looks at originals, carries no claim and must not steer what is released.", style="dim")
