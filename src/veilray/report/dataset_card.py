"""The data set card of a release: DATASET.md for people, croissant.json for data tools.

Both are made of what release.json tells and of nothing else, so the same release has the same card. The YAML header
follows the dataset cards of Hugging Face; the metadata follows Croissant 1.0 (Akhtar et al. 2024, "Croissant: A
Metadata Format for ML-Ready Datasets", DEEM).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from veilray.privacy import Guarantee
from veilray.privacy.card import card_entries
from veilray.releases.model import ModelCard

__all__ = [
    "CONTEXT",
    "CROISSANT",
    "DATASET_CARD",
    "LICENCE",
    "TEMPLATES",
    "claim_in",
    "dataset_files",
    "decoded_under",
    "file_object",
    "people",
    "size_category",
]

DATASET_CARD = "DATASET.md"
CROISSANT = "croissant.json"

TEMPLATES = Environment(
    loader=PackageLoader("veilray.report"),
    autoescape=False,  # Markdown, not HTML
    trim_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LICENCE = "set by the publisher"
_MEANINGS = {
    "README": "the claim in plain words",
    "release.json": "the claim for machines, and the SHA-256 of every other file",
    "manifest.csv": "path and released conditions of each picture",
    "images/": "the pictures (PNG)",
    "codes.npy": "the released code, one row a picture in the order of manifest.csv, little-endian float64",
    "kept_code/": "the public function that the codes are of",
    CROISSANT: "this card for data tools (Croissant 1.0)",
}
_FORMATS = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
    ".json": "application/json",
    ".md": "text/markdown",
    "": "text/plain",
}

# The JSON-LD context of the Croissant 1.0 specification, whole: tools compare it with their own.
_OWN_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _OWN_TERMS},
}


def dataset_files(told: Mapping[str, Any]) -> dict[str, str]:
    """The card of a release as files: name to text.

    Args:
        told: the contents of release.json, before the card itself is listed in it.
    """
    croissant = json.dumps(_croissant(told), indent=2) + "\n"
    return {DATASET_CARD: _markdown(told), CROISSANT: croissant}


def _markdown(told: Mapping[str, Any]) -> str:
    guarantee, model = claim_in(told), ModelCard.model_validate(told["model"])
    pictures = _pictures(told)
    entries = [entry for entry in card_entries(guarantee) if entry.heading not in ("Not covered", "Use")]
    there = {f"{PurePosixPath(name).parts[0]}/" if "/" in name else name for name in told["files"]}
    return TEMPLATES.get_template("dataset.md").render(
        title=_title(told),
        summary=guarantee.summary(),
        size=size_category(len(pictures)),
        classes=_composition(guarantee, pictures, told.get("label_folders", {})),
        label_note=_label_note(guarantee),
        kept=told.get("kept_code"),
        decoded_under=decoded_under(told),
        mechanism=guarantee.mechanism,
        geometry=_geometry(guarantee, model),
        claim=entries,
        not_covered=guarantee.not_covered(),
        count=f"{len(pictures):,}",
        people=people(guarantee),
        model=model,
        software=told["software"],
        date=told["date"],
        identifier=told["identifier"],
        files=[(name, text) for name, text in _MEANINGS.items() if name in there | {"release.json", CROISSANT}],
    )


def size_category(count: int) -> str:
    """The size as the data set cards of Hugging Face write it."""
    return next((words for below, words in SIZES if count < below), "n>1M")


def decoded_under(told: Mapping[str, Any]) -> str:
    """The facts that everything was drawn under; empty for none."""
    return ", ".join(f"{name} = {value}" for name, value in sorted(told.get("decoded_under", {}).items()))


def _counterfactual(told: Mapping[str, Any]) -> str:
    facts = decoded_under(told)
    return f"Counterfactual: every picture was drawn as if {facts}. " if facts else ""


def _croissant(told: Mapping[str, Any]) -> dict[str, Any]:
    guarantee = claim_in(told)
    single = [name for name in told["files"] if not name.startswith("images/")]
    columns = ["path", *sorted(name for name, c in guarantee.conditions.items() if c.policy != "withheld")]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"veilray-release-{told['identifier'][:12]}",
        "description": f"{_title(told)}. {guarantee.summary()} {_counterfactual(told)}SHA-256 of every picture: "
        "release.json.",
        "version": "1.0.0",
        "datePublished": told["date"],
        "license": LICENCE,
        "citeAs": f"{_title(told)}, release {told['identifier']}, {told['date']}, made by {told['software']}",
        "keywords": ["local differential privacy", "randomised images"],
        "distribution": [
            *(file_object(name, told["files"][name]) for name in single),
            {
                "@type": "cr:FileSet",
                "@id": "images",
                "name": "images",
                "description": "the released pictures",
                "encodingFormat": "image/png",
                "includes": "images/**/*.png",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "manifest",
                "name": "manifest",
                "description": "path and released conditions of each picture",
                "field": [_field(column) for column in columns],
            }
        ],
    }


def file_object(name: str, sha256: str) -> dict[str, Any]:
    """One file of the release in Croissant's words."""
    suffix = PurePosixPath(name).suffix
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": _FORMATS.get(suffix, "application/octet-stream"),
        "sha256": sha256,
    }


def _field(column: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"manifest/{column}",
        "name": column,
        "dataType": "sc:Text",
        "source": {"fileObject": {"@id": "manifest.csv"}, "extract": {"column": column}},
    }


def claim_in(told: Mapping[str, Any]) -> Guarantee:
    """The claim that release.json tells."""
    return Guarantee.from_json(json.dumps(told["guarantee"]))


def _pictures(told: Mapping[str, Any]) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in told["files"] if name.startswith("images/")]


def _title(told: Mapping[str, Any]) -> str:
    count = len(_pictures(told))
    pictures = "1 picture" if count == 1 else f"{count:,} pictures"
    return f"{pictures} released by {told['model']['name']} with differential privacy"


def _composition(
    guarantee: Guarantee, pictures: list[PurePosixPath], label_of: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Pictures of each label, where its policy releases it: the folder is the label, or `label_of` it."""
    label = guarantee.conditions.get("label")
    if label is None or label.policy == "withheld":
        return []
    counts = Counter(label_of.get(path.parts[1], path.parts[1]) for path in pictures)
    return [(_in_markdown(name), f"{count:,}") for name, count in sorted(counts.items())]


def _in_markdown(text: str) -> str:
    """Text that stands in a table cell as it is: no sign of it is taken for markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)


def _label_note(guarantee: Guarantee) -> str:
    label = guarantee.conditions.get("label")
    if label is not None and label.policy == "randomised":
        return "Labels were randomised: these are counts of what was drawn, not of what was true."
    return "Labels are released as they were and are not covered by the claim."


def _geometry(guarantee: Guarantee, model: ModelCard) -> str:
    size, channels, bits = (model.geometry.get(name) for name in ("size", "channels", "bits"))
    colour = "grey" if channels == 1 else "colour"
    made = f"The model makes pictures of {size} x {size}, {colour}, {bits} bits a channel."
    return f"{made} Afterwards changed: {'; '.join(guarantee.in_clear)}." if guarantee.in_clear else made


def people(guarantee: Guarantee) -> str:
    """How many patients the records are of, in a sentence."""
    releases = guarantee.releases
    if releases is None or releases.patients is None:
        return "How many patients they are of is not known: no patient key was given."
    if releases.patients == 1:
        return "They are of 1 patient."
    return f"They are of {releases.patients:,} patients, at most {releases.largest_patient:,} of one."
