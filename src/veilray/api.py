"""In Python: the same words as on the command line, which is a thin layer over this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from veilray.api_tables import Table, first_condition, fit_table, holds_table, release_table
from veilray.images import Collection, Quarantined
from veilray.ledger import Journal, default_ledger
from veilray.methods import (
    METHODS,
    Method,
    Model,
    Outcome,
    condition_rules,
    continue_release,
    facts_of,
    find_record,
    load_method,
    plan_release,
    start_release,
)
from veilray.methods.base import Progress
from veilray.methods.kept import Kept
from veilray.methods.released import OpenedRelease
from veilray.methods.released import open_release as open_pictures
from veilray.methods.tables import OpenedTable, TableOutcome, is_table, open_table
from veilray.privacy import Claim, SystemEntropy
from veilray.privacy.exact import ExactLike
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
        columns: of a manifest or array file: role (path, patient, group, label, split) to the name of its column.
        dialect: how a manifest or table is written: see `veilray.text.read_dialect`. Of a table it changes the
            schema's, and the model keeps it.
        on_quarantine: called with the files that were refused, if any.
        options: those of `veilray fit`, with underscores: `size`, `levels`, `epochs`, `training_data` ...

    Raises:
        ValueError: for an unknown method, wrong options, or images that cannot be trained on.
    """
    if schema is not None:
        if method != "cadp":
            raise ValueError(f"method must be cadp for a table, got {method!r}")
        return fit_table(images, schema, out, dialect, **options)
    if not isinstance(images, str | Path):
        raise ValueError("schema must be given for a table, got none: `veilray check TABLE.csv` drafts one")
    written = read_dialect(dialect)
    with Collection.open(Path(images), layout=layout, root=root, columns=columns, dialect=written) as collection:
        collection.scan()
        if on_quarantine and collection.quarantine:
            on_quarantine(list(collection.quarantine))
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
    columns: Mapping[str, str] | None = None,
    dialect: GivenDialect = None,
    decode_under: Mapping[str, str] | None = None,
    keep_geometry: bool = False,
    record: str | Path | None = None,
    ledger: str | Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    on_scan: Progress | None = None,
    on_draw: Progress | None = None,
) -> Outcome | TableOutcome:
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
        decode_under: facts that a conditional model draws every picture under, in place of its own: a counterfactual,
            fixed beforehand and stated in the release. The condition itself leaves under its policy, as ever.
        keep_geometry: keep the sources' rows, columns and bits, which are then not covered.
        columns, dialect: as `fit` takes them. Without a dialect a table is read in that of its model.
        record, ledger: where what stays in the house is written.
        resume: continue an interrupted release into `out`. dry_run: work out the claim and spend nothing.
        on_scan, on_draw: progress `(done, total)`.

    Returns:
        The claim, what was refused, and (unless it was a dry run) where release and record are.

    Raises:
        ValueError: for wrong use. veilray.errors.Refused: where keeping the claim forbids it.
    """
    claim = Claim.of(epsilon, delta, unit)
    options = _options({"clip": clip, "radius": radius, "bound": bound}, mechanism_option or {})
    if holds_table(model):
        if keep_geometry or condition_levels or layout != "folders" or root is not None or columns:
            raise ValueError(
                "layout, root, columns, keep geometry and condition levels must be left out for a table, got one"
            )
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
    out = Path(out).absolute()
    source = Path(images).absolute()
    if source == out or source in out.parents:
        raise ValueError(f"RELEASE must lie outside IMAGES, got {out} in {source}: choose another --out")
    written = read_dialect(dialect)
    with Collection.open(Path(images), layout=layout, root=root, columns=columns, dialect=written) as collection:
        collection.scan(progress=on_scan)
        levels = {**method.card.levels_of, **(condition_levels or {})}
        bounds = None if method.conditions is None else method.conditions.bounds_of
        rules = condition_rules(policies, levels, facts_of(collection.refs), bounds)
        job = {
            "images": str(Path(images).absolute()),
            "root": None if root is None else str(Path(root).absolute()),
            "weights_sha256": method.card.weights_sha256,
            "policies": policies,
            "layout": layout,
            "keep_geometry": keep_geometry,
            **({"columns": dict(columns)} if columns else {}),
            **({"dialect": written.told()} if written.told() else {}),
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
        )
        if dry_run:
            return Outcome(plan.guarantee, len(collection), tuple(collection.quarantine))
        journal = Journal(Path(ledger) if ledger else default_ledger())
        records = journal.path.absolute().parent / "records"
        if resume:
            return continue_release(plan, out, Path(record) if record else find_record(records, out), journal, on_draw)
        folder = Path(record).absolute() if record else records / f"{out.name}-{SystemEntropy().bytes(4).hex()}"
        return start_release(plan, out, folder, journal, on_draw)


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
