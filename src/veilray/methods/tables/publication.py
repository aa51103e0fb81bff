"""RELEASE of a table: the folder that leaves the house, built in a private spool and published by one rename.

    RELEASE/
        README          the card in plain words
        release.json    guarantee, model card, hashes of all files
        data.csv        the released rows, in random order; only what the schema allows
        data.parquet    the same rows with their types
        schema.yaml     what the columns mean: public
        DATASET.md, croissant.json      the data set card, for people and for data tools

Nothing in it links a row to its source.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import date
from typing import Any

from veilray.methods.base import ModelCard
from veilray.methods.spool import Describe, Spool, claim_of, origin_of, sha256_of
from veilray.privacy import Guarantee
from veilray.privacy.card import ReleaseOrigin, card_text
from veilray.tables import Records

__all__ = ["DATA", "PARQUET", "SCHEMA", "TableSpool"]

DATA, PARQUET, SCHEMA = "data.csv", "data.parquet", "schema.yaml"


class TableSpool(Spool):
    """The spool of a released table."""

    def finish(
        self,
        records: Records,
        *,
        identifier: str,
        version: str,
        guarantee: Guarantee,
        card: ModelCard,
        day: date,
        describe: Describe | None = None,
        decoded_under: Mapping[str, str] | None = None,
    ) -> str:
        """Write the rows and everything beside them; return the SHA-256 of release.json, which names all hashes."""
        records.write_csv(self.folder / DATA)
        records.write_parquet(self.folder / PARQUET)
        records.schema.to_yaml(self.folder / SCHEMA)
        origin = origin_of(card, identifier=identifier, version=version, day=day)
        self.write("README", _readme(records, guarantee, origin, card, decoded_under or {}))
        for name in (DATA, PARQUET, SCHEMA):
            self.keep(name)
        told: dict[str, Any] = {
            **claim_of(guarantee, card, identifier=identifier, version=version, day=day),
            "table": {"data": DATA, "schema": SCHEMA, "rows": len(records), "columns": _columns(records)},
            **({"decoded_under": dict(decoded_under)} if decoded_under else {}),
        }
        listed = {name: sha256_of(self.folder / name) for name in (DATA, PARQUET, SCHEMA, "README")}
        return self.seal(told, listed, day, describe)


def _columns(records: Records) -> list[dict[str, str]]:
    return [{"name": column.name, "kind": column.kind} for column in records.schema.columns]


def _readme(
    records: Records, guarantee: Guarantee, origin: ReleaseOrigin, card: ModelCard, decoded_under: Mapping[str, str]
) -> str:
    title = f"{len(records):,} released rows"
    under = ""
    if decoded_under:
        facts = ", ".join(f"{name} = {value}" for name, value in sorted(decoded_under.items()))
        under = f"Counterfactual: every row was drawn as if {facts}, whatever its own.\n"
    return (
        f"{title}\n{'=' * len(title)}\n\n"
        "These rows were drawn by veilray, each from one row of a table that stays where it was collected.\n"
        "A row may equal that of a person, by chance or because epsilon is large and it is nearly that row.\n"
        "This is what is promised about them, and nothing else:\n\n"
        f"{card_text(guarantee, origin)}\n"
        f"Model: {card.name} ({card.method}), {card.for_release().weights_words}.\n"
        f"Cells:\n{textwrap.indent(card.geometry_rule, '  ')}\n"
        f"Files: {DATA} and {PARQUET} (the same rows), {SCHEMA} (what the columns mean), release.json (the claim for\n"
        f"machines, SHA-256 of every file).\n{under}"
    )
