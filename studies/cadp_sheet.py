"""Pictures of a CADP model beside their originals, for the docs: the same images down a column.

    python studies/cadp_sheet.py NAME --prepared PREPARED/SETTING [--credit TEXT] --out FOLDER

Writes `cadp-NAME.png`: originals, their counterfactuals (each under the next label, without noise), releases at three
epsilons, and pictures of the label with no image in them. The images shown are the first of each label by the SHA-256
of their place: no flattering selection. The noise is seeded: a study, never a release.
"""

from __future__ import annotations

import argparse
import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilray.privacy import SeededEntropy
from veilray.report import draw_sheet
from veilray.report.sheet import Row
from veilray_studies.kinds.cadp_prepared import CadpSet
from veilray_studies.kinds.cadp_release import Asked, facts, released

SHOWN = 10
EPSILONS = ("1", "4", "8")


def main() -> None:
    asked = _arguments()
    prepared = CadpSet(asked.prepared)
    chosen = _first(prepared.sets["private_labels"])
    images, labels = prepared.sets["private_images"][chosen], prepared.sets["private_labels"][chosen]
    names, model = prepared.label_names, prepared.model
    following = (labels + 1) % len(names)
    rows = [
        Row("originals", images),
        Row(
            "counterfactual:\nthe next label, no noise",
            model.counterfactual(images, facts(labels, names), facts(following, names)),
        ),
    ]
    for epsilon in EPSILONS:
        wanted = Asked("directional", Fraction(epsilon), "public")
        rows.append(
            Row(f"released,\nepsilon {epsilon}", released(model, images, labels, names, wanted, "sheet").pictures)
        )
    rows.append(Row("the label and\nno image", model.sample(facts(labels, names), SeededEntropy("sheet"))))
    asked.out.mkdir(parents=True, exist_ok=True)
    draw_sheet(rows, asked.out / f"cadp-{asked.name}.png", note=asked.credit)


def _first(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first images of each label in turn, by hash, until there are enough."""
    order = sorted(range(len(labels)), key=lambda row: hashlib.sha256(f"{row}".encode()).hexdigest())
    by_label = [[row for row in order if labels[row] == label] for label in np.unique(labels)]
    turns = [rows[turn] for turn in range(SHOWN) for rows in by_label if turn < len(rows)]
    return np.array(turns[:SHOWN])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--prepared", type=Path, required=True, help="a setting of studies/prepare_cadp.py")
    parser.add_argument("--credit", default="", help="line below the sheet")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
