"""CADP for tables: encode a row under the diagnosis, bound and randomise what matters of it, decode a valid row.

A re-implementation of the published idea, not a reproduction: Toelle et al. 2022, "Content-aware differential privacy
with conditional invertible neural networks", DeCaF 2022, arXiv 2207.14625, whose tables are scikit-learn's breast
cancer and diabetes. Here a row's cells become coordinates of about N(0, 1) by the columns' public distributions
(`coordinates`), a conditional coupling flow makes an independent standard-normal latent of them, and the directions of
it are released by a registered mechanism: by default all of them as one, or the first `keep` in the order of how much
they matter for the declared task (`ranking`), all else then being drawn from the prior. Whatever is drawn decodes to a
row that the schema allows.

**What is claimed, and why it holds.** The claim and its proof are those of `methods/cadp.py`, with a row in the place
of a picture: schema, lines, flow, directions and shares are public and fixed before any private row is read, each row
is encoded by itself, conditions leave under a stated policy each, and decoding sees the draws alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from veilray.durable import read_json
from veilray.flows import (
    Condition,
    Progress,
    RowTraining,
    TabularConfig,
    TabularFlow,
    load_card,
    load_flow,
    save_flow,
    train_rows,
)
from veilray.methods.domain import Domain
from veilray.methods.fitting import check_model_folder, ema_decay
from veilray.methods.latent_directions import LatentDirections
from veilray.methods.tables.coordinates import Coordinates
from veilray.methods.tables.ranking import ranked_directions, row_reader
from veilray.privacy import Entropy, Mechanism, ModelTraining
from veilray.privacy.samplers.normal import normals
from veilray.releases.declared import Declared, DeclaredCondition, Facts
from veilray.releases.model import ModelCard, TableModel, read_card
from veilray.releases.training_record import (
    TrainingRecord,
    check_statement,
    training_beside,
    training_statement,
)
from veilray.tables import Records, Schema
from veilray.text import patient_key

__all__ = ["CADPTable"]

_LINES, _DOMAIN, _SCHEMA = "coordinates.json", "domain.json", "schema.yaml"
_LEAST_ROWS = 10
_VALIDATION_SHARE = 0.1
_STEPS = 4000
_PATIENCE = 30
_ROW = "row"
"""The task of a model that is to keep what shows most of a row, whatever it is good for."""
_RULE = "each cell is brought to the schema: levels by name, numbers and days within their bounds"


class CADPTable(TableModel):
    """A conditional flow of public rows, with noise on the directions of its latent that matter.

    Args:
        schema: of the whole table, conditions included.
        coordinates: of the columns that are no condition.
        flow: the trained flow.
        declared: the conditions it is told; None for a flow that is told none.
        directions: what of the latent matters, most first.
        card: the model card.
        domain: likelihood band of held-out public rows, for `veilray check`.
    """

    name: ClassVar[str] = "cadp-table"
    default_mechanism: ClassVar[str] = "directional"

    def __init__(
        self,
        schema: Schema,
        coordinates: Coordinates,
        flow: TabularFlow,
        declared: Declared | None,
        directions: LatentDirections,
        card: ModelCard,
        domain: Domain,
    ) -> None:
        self.schema, self.coordinates, self.flow = schema, coordinates, flow
        self.declared, self.directions, self.card, self.domain = declared, directions, card, domain

    @classmethod
    def fit(
        cls,
        public: Records,
        folder: Path,
        *,
        condition: str | Sequence[str] = (),
        task: str | None = None,
        keep: int | None = None,
        couplings: int = 8,
        width: int = 128,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        max_minutes: float | None = None,
        seed: int = 0,
        training_data: str = "not covered",
        statement: str = "",
        name: str | None = None,
        resume: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> CADPTable:
        """Train the conditional flow on public rows, measure what of its latent matters, write the MODEL folder.

        Args:
            public: valid rows of a schema that a person confirmed, or that says it was drafted from public rows, where
                `training_data` is `public` and `statement` says which.
            condition: names of the columns that the flow is told, in a sequence or with commas; they leave under a
                policy each, all other columns are the row that the mechanism covers.
            task: the column that learners will be asked for, by which directions are ranked; by default the first
                condition. `row`: whatever shows most.
            keep: directions that a release may keep; by default all.
            couplings, width: of the flow. learning_rate, max_minutes, seed: of its training.
            epochs: passes over the rows; by default as many as make 4,000 steps, and 20 or more.
            batch_size: rows a step; by default 256, and 32 or more so that there are eight steps in a pass.
            training_data, statement, name: for the card. resume: continue an interrupted fit.

        Raises:
            ValueError: for a schema that nobody confirmed, fewer than 10 rows, conditions that are no columns, a table
                without any other column, or numbers that do not fit.
        """
        stated_public = training_data == "public" and bool(statement.strip())
        if not public.schema.confirmed and not (public.schema.drafted_from == "public rows" and stated_public):
            raise ValueError(
                "schema must be confirmed, got one that is not: check that its bounds and levels are public knowledge, "
                "then set `confirmed: true` in it"
            )
        if len(public) < _LEAST_ROWS:
            raise ValueError(f"TABLE must hold at least {_LEAST_ROWS} valid rows to train on, got {len(public)}")
        names = tuple(condition.split(",")) if isinstance(condition, str) else tuple(condition)
        declared = _declared(public.schema, names) if names else None
        rest = [column for column in public.schema.names if column not in names]
        if not rest:
            raise ValueError(f"TABLE must have a column that is no condition, got {len(names)} conditions alone")
        keep = len(rest) if keep is None else keep
        if not 1 <= keep <= len(rest):
            raise ValueError(f"keep must be between 1 and the {len(rest)} columns that are no condition, got {keep}")
        asked = (names[0] if names else _ROW) if task is None else task
        if asked != _ROW:
            public.schema.index(asked)
        training = training_statement(training_data, statement)
        config = TabularConfig(dimension=len(rest), couplings=couplings, width=width)
        check_model_folder(folder, resume=resume)
        kept, held_out = _held_out(public)
        beside = kept.only([asked]) if asked != _ROW else None
        coordinates = Coordinates.fit(kept.only(rest), beside=beside)
        flow = TabularFlow(config, None if declared is None else declared.config, seed)
        told, told_held_out = (_condition(declared, part) for part in (kept, held_out))
        rows = kept.only(rest)
        placed = coordinates.encode(rows)
        flow.initialise(placed, told)
        result = train_rows(
            flow,
            lambda _, generator: coordinates.dequantised(rows, generator),
            told,
            coordinates.encode(held_out.only(rest)),
            told_held_out,
            _schedule(len(kept), epochs, batch_size, learning_rate, seed, max_minutes),
            folder,
            resume=resume,
            on_progress=on_progress,
        )
        reader = None if asked == _ROW else row_reader(placed, *_targets(kept, asked), seed=seed)
        # Standardised where latents spread as they do under the prior: cells at their means would be too narrow.
        spread = coordinates.dequantised(rows, np.random.default_rng(seed))
        directions = ranked_directions(flow, placed, told, keep, reader, spread=spread, seed=seed)
        nats = _nats(flow, coordinates.encode(held_out.only(rest)))
        figures = {
            "kept": float(keep),
            "validation_bits_per_dimension": round(result.validation_bits, 4),
            "validation_rows": float(result.validation_rows),
            "epochs": float(result.epochs),
            "parameters": float(result.parameters),
            "training_seconds": round(result.seconds, 1),
        }
        card = ModelCard(
            name=name or folder.name,
            method=cls.name,
            geometry={"columns": len(rest), "conditions": len(names)},
            geometry_rule=_RULE,
            training=training,
            training_images=len(kept),
            training_patients=None if kept.patients is None else len(set(map(patient_key, kept.patients))),
            levels_of={} if declared is None else declared.levels_of,
            figures=figures,
            configuration={
                **config.to_dict(),
                "schema_sha256": public.schema.sha256(),
                "schema_provenance": public.schema.provenance,
                "conditions": [] if declared is None else declared.to_list(),
                "task": asked,
            },
            weights_sha256=_save_networks(flow, declared, coordinates, directions, public.schema, training, folder),
        )
        _training_record(kept, held_out).write(card.weights_sha256)
        model = cls(public.schema, coordinates, flow, declared, directions, card, Domain.of(nats))
        model.save(folder)
        return model

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        training = self.card.training
        _save_networks(self.flow, self.declared, self.coordinates, self.directions, self.schema, training, folder)
        (folder / _DOMAIN).write_text(json.dumps(self.domain.to_dict(), indent=2) + "\n")
        self.card.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        card = read_card(folder)
        flow = load_flow(folder, TabularFlow)
        beside = load_card(folder)["card"]
        if beside:  # models of 0.1.0 before the statement was stored twice have none; an edit would take two files too
            check_statement(folder, card.training, beside)
        directions, _ = LatentDirections.load(folder)
        if _hash_of(folder) != card.weights_sha256:
            raise ValueError(f"{folder} must hold the weights its model card tells of, got others: fit the model anew")
        schema = Schema.from_yaml(folder / _SCHEMA)
        told = read_json(folder / _LINES, "the coordinates of the columns")
        declared = None if told.get("conditions") == [] else Declared.from_list(told.get("conditions"))
        rest = schema if declared is None else schema.without(declared.names)
        coordinates = Coordinates.from_list(rest, told.get("lines"))
        expected = None if declared is None else (declared.config.categorical, declared.config.continuous)
        found = None if flow.conditions is None else (flow.conditions.categorical, flow.conditions.continuous)
        if expected != found or flow.config.dimension != len(coordinates.lines):
            raise ValueError(f"{folder} must hold the flow of its schema and conditions, got another: fit it anew")
        if len(directions.directions) != flow.config.dimension:
            raise ValueError(f"{folder} must hold directions of its flow's latent, got others: fit the model anew")
        domain = Domain.from_dict(read_json(folder / _DOMAIN, "the domain of the model"))
        return cls(schema, coordinates, flow, declared, directions, card, domain)

    @property
    def row_schema(self) -> Schema:
        """The columns that the mechanism covers: all that are no condition."""
        return self.coordinates.schema

    @property
    def dimension(self) -> int:
        return self.directions.keep

    @property
    def conditions(self) -> Declared | None:
        return self.declared

    def encode(self, records: Records, known: Facts | None = None) -> NDArray[np.float64]:
        """Rows `(n, k)` of records, each from its own cells and what is known of its conditions alone."""
        latents = self.flow.encode(self.coordinates.encode(records), self._condition(known, len(records)))
        return self.directions.read(latents)

    def render(
        self, drawn: NDArray[np.float64], mechanism: Mechanism, entropy: Entropy, told: Facts | None = None
    ) -> Records:
        """Valid rows of what the mechanism drew, `(n, k)`, and of what is told of their conditions."""
        return self._records(mechanism.to_prior_law(drawn), entropy, told)

    def release(
        self, records: Records, mechanism: Mechanism, entropy: Entropy, known: Facts | None, told: Facts | None
    ) -> Records:
        """Encode, bound, randomise and decode: the claim belongs to the randomise step.

        Args:
            records: of `row_schema`.
            known: what the encoder is told of each row: a part of the record, so the claim covers it.
            told: what the decoder is told: what leaves of the conditions, nothing else.
        """
        drawn = mechanism.release(self.encode(records, known), entropy)
        return self.render(drawn, mechanism, entropy, told)

    def sample(self, count: int, entropy: Entropy, told: Facts | None = None) -> Records:
        """Valid rows with no record in them, all of the latent from the prior: the null, and the null-conditional."""
        return self._records(self.prior(count, entropy), entropy, told)

    def prior(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        return normals(entropy.words((count, self.dimension), np.uint64))

    def domain_scores(self, records: Records) -> NDArray[np.float64]:
        """Nats of each row's coordinates, of which no condition is told, `(n,)`: the less, the more usual."""
        return _nats(self.flow, self.coordinates.encode(records))

    def facts(self, records: Records) -> list[dict[str, str]]:
        """What is known of the conditions of records of the whole schema, as text."""
        names = () if self.declared is None else self.declared.names
        return _facts(records, names)

    def _records(self, numbers: NDArray[np.float64], entropy: Entropy, told: Facts | None) -> Records:
        rest = normals(entropy.words((len(numbers), self.flow.config.dimension), np.uint64))
        placed = self.directions.place(numbers, rest)
        rows = self.flow.decode(placed, self._condition(told, len(numbers)))
        return Records.of(self.row_schema, self.coordinates.decode(rows))

    def _condition(self, facts: Facts | None, count: int) -> Condition | None:
        if self.declared is None:
            return None
        return self.declared.condition([{}] * count if facts is None else facts)


def _schedule(
    count: int,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float,
    seed: int,
    max_minutes: float | None,
) -> RowTraining:
    """How to train on `count` rows. Few rows need as many steps as many do, so they are passed over more often, until
    a tenth of the passes, and 30 at least, have brought nothing."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    batch = min(count, max(32, min(256, count // 8)) if batch_size is None else batch_size)
    passes = max(20, -(-_STEPS // (count // batch))) if epochs is None else epochs
    return RowTraining(
        epochs=passes,
        batch_size=batch,
        learning_rate=learning_rate,
        seed=seed,
        max_minutes=max_minutes,
        patience=max(_PATIENCE, passes // 10),
        ema_decay=ema_decay(passes * count // batch),
    )


def _declared(schema: Schema, names: Sequence[str]) -> Declared:
    """The conditions with the schema's public levels and bounds."""
    conditions = []
    for name in names:
        column = schema.column(name)
        if column.kind == "date":
            raise ValueError(f"condition must be a category or a number, got the date {name}: leave it in the row")
        if column.levels is not None:
            conditions.append(DeclaredCondition(name, column.levels))
        else:
            low, high = (Fraction(str(bound)) for bound in (column.low, column.high))
            conditions.append(DeclaredCondition(name, bounds=(low, high)))
    return Declared(tuple(conditions))


def _facts(records: Records, names: Sequence[str]) -> list[dict[str, str]]:
    columns = [records.texts(name) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if names else [{}] * len(records)


def _condition(declared: Declared | None, records: Records) -> Condition | None:
    return None if declared is None else declared.condition(_facts(records, declared.names))


def _held_out(public: Records) -> tuple[Records, Records]:
    """Training and validation rows: of patients where they are known, else of rows; fixed by their order."""
    named = [None] * len(public) if public.patients is None else [patient_key(key) for key in public.patients]
    owners = [str(row) if owner is None else owner for row, owner in zip(public.rows, named, strict=True)]
    different = sorted(set(owners), key=lambda owner: hashlib.sha256(f"veilray-validation:{owner}".encode()).digest())
    chosen = set(different[: max(1, round(_VALIDATION_SHARE * len(different)))])
    if len(chosen) == len(different):
        raise ValueError(f"TABLE must hold at least two patients, so that one can be held out, got {len(different)}")
    mask = np.array([owner in chosen for owner in owners])
    return public[~mask], public[mask]


def _training_record(kept: Records, held_out: Records) -> TrainingRecord:
    """Hashes of all rows and patients, and how often a row of another patient equals a training row by chance."""
    training, others = kept.contents, held_out.contents
    seen = set(training)
    chance = sum(content in seen for content in others) / len(others)
    return TrainingRecord.of([*training, *others], {*(kept.patients or ()), *(held_out.patients or ())}, chance)


def _targets(records: Records, task: str) -> tuple[NDArray[Any]]:
    """The task of each row for the reader: levels, or numbers of order 1; a missing one counts as the middle."""
    column = records.schema.column(task)
    values = column.model_copy(update={"missing": False}).snap(records.column(task))
    if column.levels is not None:
        return (values.astype(np.int64),)
    return ((values - values.mean()) / max(float(values.std()), 1e-9),)


def _nats(flow: TabularFlow, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    with torch.no_grad():
        nats: NDArray[np.float64] = -flow.log_prob(torch.from_numpy(rows).to(flow.dtype)).double().cpu().numpy()
    return nats


def _save_networks(
    flow: TabularFlow,
    declared: Declared | None,
    coordinates: Coordinates,
    directions: LatentDirections,
    schema: Schema,
    training: ModelTraining,
    folder: Path,
) -> str:
    """Write flow, lines, directions and schema; return the hash over all of them."""
    save_flow(flow, folder, training_beside(training))
    directions.save(folder)
    told = {"conditions": [] if declared is None else declared.to_list(), "lines": coordinates.to_list()}
    (folder / _LINES).write_text(json.dumps(told) + "\n")
    schema.to_yaml(folder / _SCHEMA)
    return _hash_of(folder)


def _hash_of(folder: Path) -> str:
    """SHA-256 over everything that a release depends on: the flow's weights, directions, lines and schema."""
    parts = hashlib.sha256(str(load_card(folder)["weights_sha256"]).encode())
    for name in ("directions.json", _LINES, _SCHEMA):
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{folder} must hold {name}, got no such file: copy the model again")
        parts.update(hashlib.sha256(path.read_bytes()).digest())
    return parts.hexdigest()
