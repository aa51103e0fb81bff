"""The data set card of a released table: DATASET.md for people, croissant.json for data tools.

As `dataset_card`, for rows: made of what release.json tells and of nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from veilray.privacy.card import card_entries
from veilray.releases.model import ModelCard
from veilray.report.dataset_card import (
    CONTEXT,
    CROISSANT,
    DATASET_CARD,
    LICENCE,
    TEMPLATES,
    claim_in,
    decoded_under,
    file_object,
    people,
    size_category,
)

__all__ = ["table_files"]

_MEANINGS = {
    "README": "the claim in plain words",
    "release.json": "the claim for machines, and the SHA-256 of every other file",
    "data.csv": "the released rows",
    "data.parquet": "the same rows with their types",
    "schema.yaml": "what the columns mean: kinds, bounds, levels",
    CROISSANT: "this card for data tools (Croissant 1.0)",
}
_TYPES = {"continuous": "sc:Float", "integer": "sc:Integer", "date": "sc:Date"}


def table_files(told: Mapping[str, Any]) -> dict[str, str]:
    """The card of a released table as files: name to text.

    Args:
        told: the contents of release.json, before the card itself is listed in it.
    """
    return {DATASET_CARD: _markdown(told), CROISSANT: json.dumps(_croissant(told), indent=2) + "\n"}


def _markdown(told: Mapping[str, Any]) -> str:
    guarantee, table = claim_in(told), told["table"]
    there = {*told["files"], "release.json", CROISSANT}
    return TEMPLATES.get_template("table.md").render(
        title=_title(told),
        summary=guarantee.summary(),
        size=size_category(table["rows"]),
        columns=table["columns"],
        conditions=guarantee.conditions,
        decoded_under=decoded_under(told),
        mechanism=guarantee.mechanism,
        claim=[entry for entry in card_entries(guarantee) if entry.heading not in ("Not covered", "Use")],
        not_covered=guarantee.not_covered(),
        count=f"{table['rows']:,}",
        people=people(guarantee),
        model=ModelCard.model_validate(told["model"]),
        software=told["software"],
        date=told["date"],
        identifier=told["identifier"],
        files=[(name, text) for name, text in _MEANINGS.items() if name in there],
    )


def _croissant(told: Mapping[str, Any]) -> dict[str, Any]:
    guarantee, table = claim_in(told), told["table"]
    facts = decoded_under(told)
    under = f" Counterfactual: every row was drawn as if {facts}." if facts else ""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"veilray-release-{told['identifier'][:12]}",
        "description": f"{_title(told)}. {guarantee.summary()}{under}",
        "version": "1.0.0",
        "datePublished": told["date"],
        "license": LICENCE,
        "citeAs": f"{_title(told)}, release {told['identifier']}, {told['date']}, made by {told['software']}",
        "keywords": ["local differential privacy", "randomised rows"],
        "distribution": [file_object(name, sha256) for name, sha256 in told["files"].items()],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "rows",
                "name": "rows",
                "description": "the released rows",
                "field": [_field(column) for column in table["columns"]],
            }
        ],
    }


def _field(column: Mapping[str, str]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"rows/{column['name']}",
        "name": column["name"],
        "dataType": _TYPES.get(column["kind"], "sc:Text"),
        "source": {"fileObject": {"@id": "data.csv"}, "extract": {"column": column["name"]}},
    }


def _title(told: Mapping[str, Any]) -> str:
    rows = told["table"]["rows"]
    counted = "1 row" if rows == 1 else f"{rows:,} rows"
    return f"{counted} released by {told['model']['name']} with differential privacy"
