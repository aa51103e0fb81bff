"""Decoded releases beside their originals, for the docs: one row an epsilon, the same images down a column.

    python studies/release_sheet.py NAME --model MODEL --images PRIVATE [--root FOLDER] [--credit TEXT] --out FOLDER

Writes `releases-NAME.png`. MODEL is one of `veilray fit directional`. The images shown are the first of PRIVATE by the
SHA-256 of their source name: no flattering selection. The noise is seeded: a study, never a release.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from veilray.images import Collection
from veilray.methods import load_method
from veilray.report import contact_sheet, draw_sheet, first_by_hash
from veilray.report.sheet import Row

SHOWN = 10


def main() -> None:
    asked = _arguments()
    method = load_method(asked.model)
    with Collection.open(asked.images, root=asked.root) as private:
        _, originals = next(private.batches(method.geometry, SHOWN, first_by_hash(private, SHOWN)))
    first, clear, *released, prior = contact_sheet(method, originals, seed=0)
    rows = [first, Row(f"the {method.dimension} kept numbers,\nno noise", clear.pictures), *released, prior]
    asked.out.mkdir(parents=True, exist_ok=True)
    draw_sheet(rows, asked.out / f"releases-{asked.name}.png", note=asked.credit)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="private images, of which ten are shown")
    parser.add_argument("--root", type=Path, help="folder that the manifest's paths are relative to")
    parser.add_argument("--credit", default="", help="line below the sheet")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
