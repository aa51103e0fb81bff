"""Write the tables of docs/reference/utility.md anew from the committed rows of the utility study.

    python studies/utility_page.py [--page docs/reference/utility.md] [--data docs/data/utility.csv]

A table stands between `<!-- table DATASET SPACE -->` and `<!-- end -->`, SPACE being code, image, or keeps for what
each k would have given; what stands outside is left alone.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from veilray.evaluation.study import StudyTable
from veilray.evaluation.study.kinds.utility_keeps import keeps_table
from veilray.evaluation.study.kinds.utility_table import table

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "reference" / "utility.md"
DATA = DOCS / "data" / "utility.csv"
KEEPS = "keeps"
BLOCK = re.compile(r"<!-- table (\S+) (\S+) -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)


def anew(page: str, rows: StudyTable) -> str:
    """The page with each table written again. Raises ValueError for a data set or space that has no rows."""

    def block(found: re.Match[str]) -> str:
        dataset, space = found.groups()
        made = keeps_table(rows, dataset) if space == KEEPS else table(rows, dataset, space)
        return f"<!-- table {dataset} {space} -->\n\n{made}\n\n<!-- end -->"

    return BLOCK.sub(block, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    page = options.page.read_text("utf-8")
    options.page.write_text(anew(page, StudyTable.read(options.data)), encoding="utf-8")
    print(f"{len(BLOCK.findall(page))} tables in {options.page}")


if __name__ == "__main__":
    main()
