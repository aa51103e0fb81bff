"""Write the tables of the two pages on obfuscation anew from the committed rows of the obfuscation study.

    python studies/obfuscation_page.py [--page PAGE ...] [--data docs/data/obfuscation.csv]

A table stands between `<!-- obfuscation:NAME -->` and `<!-- end -->`. NAME is `utility DATA`, `attacks DATA` or
`verdicts DATA` with a data set, or one of curve, entropy, figures, protocols, resists, time, vessels; what stands
outside is left alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from veilray.evaluation.study import StudyTable
from veilray.evaluation.study.kinds.obfuscation_table import TABLES, attack_table, utility_table, verdict_table

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = (DOCS / "reference" / "obfuscation.md", DOCS / "concept" / "obfuscation.md")
DATA = DOCS / "data" / "obfuscation.csv"
OF_ONE: dict[str, Callable[[StudyTable, str], str]] = {
    "utility": utility_table,
    "attacks": attack_table,
    "verdicts": verdict_table,
}
BLOCK = re.compile(r"<!-- obfuscation:(\S+)(?: (\S+))? -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)


def anew(page: str, rows: StudyTable) -> str:
    """The page with each table written again. Raises ValueError for an unknown table or a data set without rows."""

    def block(found: re.Match[str]) -> str:
        name, data = found[1], found[2]
        known = OF_ONE if data else TABLES
        if name not in known:
            raise ValueError(f"table must be one of {', '.join([*OF_ONE, *TABLES])}, got {name!r}")
        made = OF_ONE[name](rows, data) if data else TABLES[name](rows)
        told = f"{name} {data}" if data else name
        return f"<!-- obfuscation:{told} -->\n\n{made}\n\n<!-- end -->"

    return BLOCK.sub(block, page)


def main() -> None:
    """Parse the command line and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, nargs="+", default=PAGES)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    rows = StudyTable.read(options.data)
    for path in options.page:
        page = path.read_text("utf-8")
        path.write_text(anew(page, rows), encoding="utf-8")
        print(f"{len(BLOCK.findall(page))} tables in {path}")


if __name__ == "__main__":
    main()
