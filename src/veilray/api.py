"""In Python: the same words as on the command line, which is a thin layer over this file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from veilray.api_tables import Table, first_condition, fit_table, holds_table, release_table, written_by_release
from veilray.images import Collection, Quarantined, Reading
from veilray.ledger import Journal, ledger_path
from veilray.methods import METHODS, load_method
from veilray.places import check_apart, check_outside_sources
from veilray.privacy import Claim
from veilray.privacy.exact import ExactLike
from veilray.releases import (
    Method,
    Model,
    OpenedTable,
    Outcome,
    condition_rules,
    facts_of,
    is_table,
    open_table,
    plan_release,
    run_release,
)
from veilray.releases.dataset import OpenedRelease
from veilray.releases.dataset import open_release as open_pictures
from veilray.releases.features import Kept
from veilray.releases.model import Progress
from veilray.report.dataset_card import dataset_files
from veilray.tables import Schema
from veilray.text import GivenDialect, read_dialect

__all__ = ["OpenedRelease", "OpenedTable", "fit", "open_model", "open_release", "release"]


def fit(
    method: str,
    images: Table,
    out: str | Path,
    *,
    schema: Schema | str | Path | None = None,
    layout: str = "folders",
    root: str | Path | None = None,
    split: str | None = None,
    images_per_patient: int | None = None,
    range: str | tuple[float, float] | None = None,
    invert: bool | None = None,
    columns: Mapping[str, str] | None = None,
    dialect: GivenDialect = None,
    on_quarantine: Callable[[list[Quarantined]], None] | None = None,
    **options: Any,
) -> Model:
    """Train `method` on public images, or on a public table, and write the MODEL folder `out`.

    Args:
        method: a registered name, such as `dp-glow`.
        images: folder tree, .npz, or manifest; with `schema` a table: .csv, .parquet, a data frame or an Arrow table.
        schema: of a table: a `veilray.tables.Schema`, or the path of one. Then `method` is `cadp`.
        layout, root, split, images_per_patient, range, invert, columns: how pictures are read: see
            `veilray.images.Reading`.
        dialect: how a manifest or table is written: see `veilray.text.read_dialect`. Of a table it changes the
            schema's, and the model keeps it.
        on_quarantine: called with the files that were refused, if any.
        options: those of `veilray fit`, with underscores: `size`, `levels`, `epochs`, `training_data` ...

    Raises:
        ValueError: for an unknown method, wrong options, or images that cannot be trained on.
    """
    reading = Reading(
        layout,
        root,
        columns=columns or {},
        split=split,
        images_per_patient=images_per_patient,
        range=range,
        invert=invert,
        dialect=read_dialect(dialect),
    )
    if schema is not None:
        if method != "cadp":
            raise ValueError(f"method must be cadp for a table, got {method!r}")
        _check_of_tables(reading)
        return fit_table(images, schema, out, dialect, **options)
    if not isinstance(images, str | Path):
        raise ValueError("schema must be given for a table, got none: `veilray check TABLE.csv` drafts one")
    made, source = {"MODEL": Path(out)}, Path(images)
    check_apart(made, {"IMAGES": source})
    with contextlib.ExitStack() as opened:

        def collection() -> Collection:  # opened once the options are known to fit: that may take long
            found = opened.enter_context(Collection.open(source, reading=reading))
            check_outside_sources(made, source, reading.base, (ref.source for ref in found.refs))
            found.scan()
            if on_quarantine and found.quarantine:
                on_quarantine(list(found.quarantine))
            return found

        return METHODS[method].fit(collection, Path(out), **options)


def release(
    images: Table,
    model: str | Path,
    epsilon: ExactLike,
    out: str | Path,
    *,
    unit: Literal["image", "element"] = "image",
    mechanism: str | None = None,
    delta: ExactLike = 0,
    clip: ExactLike | None = None,
    radius: ExactLike | None = None,
    candidates: int | None = None,
    mechanism_option: Mapping[str, str] | None = None,
    bound: str | None = None,
    label_policy: str = "withheld",
    label_epsilon: ExactLike | None = None,
    condition_policy: Mapping[str, str] | None = None,
    condition_levels: Mapping[str, tuple[str, ...]] | None = None,
    layout: str = "folders",
    root: str | Path | None = None,
    split: str | None = None,
    images_per_patient: int | None = None,
    range: str | tuple[float, float] | None = None,
    invert: bool | None = None,
    columns: Mapping[str, str] | None = None,
    dialect: GivenDialect = None,
    decode_under: Mapping[str, str] | None = None,
    keep_geometry: bool = False,
    record: str | Path | None = None,
    ledger: str | Path | None = None,
    allow_trained_on_released: bool = False,
    resume: bool = False,
    dry_run: bool = False,
    on_scan: Progress | None = None,
    on_draw: Progress | None = None,
) -> Outcome | Outcome:
    """Release images or a table with a claim; charged in the ledger before anything is drawn.

    Args:
        images: as `fit` takes them; a table where the model is of tables.
        epsilon, delta, clip, radius: exact: `"0.5"`, `"1/3"`, `4`; floats are refused.
        mechanism_option: further public options of the mechanism, such as `{"form": "sphere"}` of directional.
        candidates: how many draws of the prior `selection` chooses among.
        label_policy: `public`, `randomised` (with `label_epsilon`) or `withheld`. The label of a table is the first
            condition of its model.
        condition_policy: further conditions: name to `public`, `randomised:EPSILON` or `withheld`.
        condition_levels: public levels of randomised conditions; default: those of the model card.
        layout, root, split, images_per_patient, range, invert: how pictures are read: see `veilray.images.Reading`.
            Range and inversion are those of the model by default; others are stated in the release.
        decode_under: facts that a conditional model draws every picture under, in place of its own: a counterfactual,
            fixed beforehand and stated in the release. The condition itself leaves under its policy, as ever.
        keep_geometry: keep the sources' rows, columns and bits, which are then not covered.
        columns, dialect: as `fit` takes them. Without a dialect a table is read in that of its model.
        record, ledger: where what stays in the house is written.
        allow_trained_on_released: release by a network that may have been trained on these records; then the headline
            of the claim says so.
        resume: continue an interrupted release into `out`. dry_run: work out the claim and spend nothing.
        on_scan, on_draw: progress `(done, total)`; a total of 0 is one that is not known yet.

    Returns:
        The claim, what was refused, and (unless it was a dry run) where release and record are.

    Raises:
        ValueError: for wrong use. veilray.errors.Refused: where keeping the claim forbids it.
    """
    claim = Claim.of(epsilon, delta, unit)
    reading = Reading(
        layout,
        root,
        columns=columns or {},
        split=split,
        images_per_patient=images_per_patient,
        range=range,
        invert=invert,
        dialect=read_dialect(dialect),
    )
    options = _options({"clip": clip, "radius": radius, "bound": bound}, mechanism_option or {})
    if holds_table(model):
        if keep_geometry or condition_levels:
            raise ValueError("keep geometry and condition levels must be left out for a table, got one")
        _check_of_tables(reading)
        return release_table(
            images,
            model,
            claim,
            Path(out).absolute(),
            mechanism=mechanism,
            options=options,
            candidates=candidates,
            policies=_policies(label_policy, label_epsilon, condition_policy or {}, label=first_condition(model)),
            decode_under=decode_under or {},
            dialect=dialect,
            record=record,
            ledger=ledger,
            allow_trained_on_released=allow_trained_on_released,
            resume=resume,
            dry_run=dry_run,
            on_scan=on_scan,
            on_draw=on_draw,
        )
    if not isinstance(images, str | Path):
        raise ValueError(f"MODEL must be of tables to release a table, got {model}: fit one with a schema")
    method = open_model(model)
    drawn_by = method.calibrated(claim, mechanism, candidates=candidates, **options)
    policies = _policies(label_policy, label_epsilon, condition_policy or {})
    out, source = Path(out).absolute(), Path(images)
    made = written_by_release(out, record, ledger)
    check_apart(made, {"IMAGES": source, "MODEL": Path(model)})
    if on_scan:
        on_scan(0, 0)
    with Collection.open(source, reading=reading.for_model(method.card.intensity)) as collection:
        check_outside_sources(made, source, reading.base, (ref.source for ref in collection.refs))
        collection.scan(progress=on_scan)
        method.card = method.card.read_by(collection)
        levels = {**method.card.levels_of, **(condition_levels or {})}
        bounds = None if method.conditions is None else method.conditions.bounds_of
        rules = condition_rules(policies, levels, facts_of(collection.refs), bounds)
        job = {
            "images": str(Path(images).absolute()),
            "weights_sha256": method.card.weights_sha256,
            "policies": policies,
            **collection.reading.asked(),
            "keep_geometry": keep_geometry,
        }
        plan = plan_release(
            collection,
            method,
            drawn_by,
            rules,
            keep_geometry=keep_geometry,
            job=job,
            kept=Kept.of(method, drawn_by, claim, options),
            describe=dataset_files,
            decode_under=decode_under,
            allow_trained_on_released=allow_trained_on_released,
        )
        if dry_run:
            return Outcome(plan.guarantee, len(collection), plan.refused)
        folder = Path(record) if record else None
        return run_release(plan, out, Journal(ledger_path(ledger)), folder, resume=resume, progress=on_draw)


def open_release(folder: str | Path, *, verify: bool = True) -> OpenedRelease | OpenedTable:
    """Open a RELEASE that was received: pictures as a torch data set, or a table.

    Args:
        folder: the RELEASE.
        verify: compare the SHA-256 of every file; without, pictures are taken as they are.

    Raises:
        ValueError: for a folder that is no release, or one whose files are not those it lists.
    """
    if is_table(Path(folder)):
        return open_table(Path(folder), verify)
    return open_pictures(folder, verify=verify)


def open_model(model: str | Path) -> Method:
    """Load a MODEL folder of pictures, or `builtin:NAME`."""
    if str(model).startswith("builtin:"):
        raise ValueError(f"MODEL must be a folder written by `veilray fit` (no model ships yet), got {model}")
    if holds_table(model):
        raise ValueError(f"MODEL must be of pictures, got one of tables in {model}")
    return load_method(Path(model))


def _check_of_tables(reading: Reading) -> None:
    if of_pictures := reading.of_pictures():
        raise ValueError(f"{of_pictures[0].replace('-', ' ')} must be left out for a table, got it: it is of pictures")


def _options(named: Mapping[str, ExactLike | None], further: Mapping[str, str]) -> dict[str, ExactLike]:
    """The mechanism's public options that were given, each once."""
    given = {name: value for name, value in named.items() if value is not None}
    if own := sorted(further.keys() & {"claim", "dimension", "mechanism"}):
        raise ValueError(f"{own[0]} must not be a further option of the mechanism, got it as one")
    twice = sorted(further.keys() & (given.keys() | {"candidates"}))
    if twice:
        raise ValueError(f"{twice[0]} must be given by its own option, got it as a further option of the mechanism")
    return {**given, **further}


def _policies(
    label_policy: str, label_epsilon: ExactLike | None, conditions: Mapping[str, str], label: str | None = "label"
) -> dict[str, str]:
    """All condition policies, with the label's short form folded in."""
    if label_epsilon is not None and label_policy != "randomised":
        raise ValueError(f"label epsilon must go with label policy randomised, got {label_policy!r}")
    if label_policy == "randomised":
        if label_epsilon is None:
            raise ValueError("label epsilon must be given with label policy randomised, got none")
        label_policy = f"randomised:{label_epsilon}"
    if label is None:
        if label_policy != "withheld":
            raise ValueError("label policy must be left out for a model that was told no condition, got one")
        return dict(conditions)
    if label in conditions and label_policy != "withheld":
        raise ValueError("the label's policy must be given once, got it both as label and as condition policy")
    return {label: label_policy, **conditions}
