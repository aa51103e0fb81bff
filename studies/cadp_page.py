"""Write the tables of docs/reference/cadp.md anew from the committed rows of the CADP study.

    python studies/cadp_page.py [--page docs/reference/cadp.md] [--data docs/data/cadp.csv]

A table stands between `<!-- cadp NAME -->` and `<!-- end -->`, NAME being a setting, `attacks` or `membership`; what
stands outside is left alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from veilray.evaluation.study import StudyTable
from veilray.evaluation.study.kinds.cadp_table import attack_table, membership_table, utility_table

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "reference" / "cadp.md"
DATA = DOCS / "data" / "cadp.csv"
OVER_ALL: dict[str, Callable[[StudyTable], str]] = {"attacks": attack_table, "membership": membership_table}
BLOCK = re.compile(r"<!-- cadp (\S+) -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)


def anew(page: str, rows: StudyTable) -> str:
    """The page with each table written again. Raises ValueError for a setting that has no row."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        made = OVER_ALL[name](rows) if name in OVER_ALL else utility_table(rows, name)
        return f"<!-- cadp {name} -->\n\n{made}\n\n<!-- end -->"

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
