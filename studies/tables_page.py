"""Write the tables of docs/reference/tables.md anew from the committed rows of the study of tables.

    python studies/tables_page.py [--page docs/reference/tables.md] [--data docs/data/tables.csv]

A table stands between `<!-- tables NAME -->` and `<!-- end -->`, NAME being TABLE-SETTING such as `adult-scarce`,
`target`, `fidelity`, `risks` or `linkage`; what stands outside is left alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from veilray.evaluation.study import StudyTable
from veilray.evaluation.study.kinds.tables_text import (
    fidelity_table,
    linkage_table,
    risk_table,
    target_table,
    utility_table,
)

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "reference" / "tables.md"
DATA = DOCS / "data" / "tables.csv"
OVER_ALL: dict[str, Callable[[StudyTable], str]] = {
    "target": target_table,
    "fidelity": fidelity_table,
    "risks": risk_table,
    "linkage": linkage_table,
}
BLOCK = re.compile(r"<!-- tables (\S+) -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)


def anew(page: str, rows: StudyTable) -> str:
    """The page with each table written again. Raises ValueError for a table or setting that has no row."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        table, _, setting = name.rpartition("-")
        made = OVER_ALL[name](rows) if name in OVER_ALL else utility_table(rows, table, setting)
        return f"<!-- tables {name} -->\n\n{made}\n\n<!-- end -->"

    return BLOCK.sub(block, page)


def main() -> None:
    """Parse the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    page = options.page.read_text("utf-8")
    options.page.write_text(anew(page, StudyTable.read(options.data)), encoding="utf-8")
    print(f"{len(BLOCK.findall(page))} tables in {options.page}")


if __name__ == "__main__":
    main()
