"""The pictures and figures of a DP-GLOW model for the docs: contact sheet with its claims, and the premise.

    python studies/figures.py NAME --model MODEL --images PRIVATE --held-out TEST [--root FOLDER] --out docs/figures

Writes `contact-sheet-NAME.png`, `premise-NAME.png` and `NAME.json`. The images shown are the first of PRIVATE by
the SHA-256 of their source name: no flattering selection. The noise is seeded: a study, never a release.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from veilray.evaluation.premise import plot, premise
from veilray.images import Collection
from veilray.methods import load_method
from veilray.report import contact_sheet, draw_sheet, first_by_hash

SHOWN = 10
HELD_OUT = 500


def main() -> None:
    asked = _arguments()
    method = load_method(asked.model)
    asked.out.mkdir(parents=True, exist_ok=True)
    with Collection.open(asked.images, root=asked.root) as private:
        _, originals = next(private.batches(method.geometry, SHOWN, first_by_hash(private, SHOWN)))
    rows = contact_sheet(method, originals, seed=0)
    draw_sheet(rows, asked.out / f"contact-sheet-{asked.name}.png", note=asked.credit)
    with Collection.open(asked.held_out, root=asked.root) as held_out:
        count = min(HELD_OUT, len(held_out))
        _, images = next(held_out.batches(method.geometry, count, first_by_hash(held_out, count)))
    measured = premise(method.flow, images)
    plot(measured, asked.out / f"premise-{asked.name}.png")
    scores = method.flow.bits_per_dimension(images).double().numpy()
    told = {
        "model": method.card.model_dump(mode="json", exclude={"geometry_rule"}),
        "held_out_images": count,
        "held_out_bits_per_dimension": round(float(scores.mean()), 3),
        "premise": {key: value for key, value in asdict(measured).items() if key != "histogram"},
        "settings": [
            {
                "unit": row.guarantee.unit,
                "epsilon": str(row.guarantee.epsilon),
                "whole_image_epsilon": str(row.guarantee.image_epsilon),
                "element_epsilon": float(row.guarantee.element_epsilon or 0),
                "odds_among_1000": row.guarantee.odds(),
                "correlation_of_pictures": _correlation(originals, row.pictures),
            }
            for row in rows
            if row.guarantee is not None
        ],
        "correlation_of_prior_draws": _correlation(originals, rows[-1].pictures),
    }
    (asked.out / f"{asked.name}.json").write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps({key: told[key] for key in ("held_out_bits_per_dimension", "premise", "settings")}, indent=2))


def _correlation(originals: np.ndarray, released: np.ndarray) -> float:
    """Mean correlation of each released picture's pixels with those of its source, the mean picture taken out."""
    mean = originals.astype(np.float64).mean(0)
    pairs = zip(originals - mean, released - mean, strict=True)
    return round(float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs])), 3)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="private images, of which ten are shown")
    parser.add_argument(
        "--held-out", type=Path, required=True, help="images for the premise and the bits per dimension"
    )
    parser.add_argument("--root", type=Path, help="folder that the manifests' paths are relative to")
    parser.add_argument("--credit", default="", help="line below the contact sheet")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
