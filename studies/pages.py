"""Write the tables of studies on the pages of docs/ anew, from the committed rows in docs/data.

    python studies/pages.py

A table stands between `<!-- study STUDY NAME -->` and `<!-- end -->`; `Study.table` says which names there are. What
stands outside is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from veilray_studies import STUDIES, StudyTable

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"<!-- study (\S+) (.+?) -->\n(?:(?!<!--).)*<!-- end -->", re.DOTALL)


def anew(page: str, rows: Mapping[str, StudyTable] | None = None) -> str:
    """The page with each table written again, from `rows` by study or from docs/data.

    Raises:
        ValueError: for a study or table that is unknown, or has no rows.
    """

    def block(found: re.Match[str]) -> str:
        study, name = found.groups()
        made = STUDIES[study].table(committed(study) if rows is None else rows[study], name)
        return f"<!-- study {study} {name} -->\n\n{made}\n\n<!-- end -->"

    return BLOCK.sub(block, page)


def pages() -> dict[Path, str]:
    """The pages that show such tables, with their text."""
    texts = {path: path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))}
    return {path: text for path, text in texts.items() if BLOCK.search(text)}


@cache
def committed(study: str) -> StudyTable:
    """All rows of a study."""
    return StudyTable.read(DOCS / "data" / f"{study}.csv")


def main() -> None:
    """Write the pages."""
    for path, page in pages().items():
        path.write_text(anew(page), encoding="utf-8")
        print(f"{len(BLOCK.findall(page))} tables in {path}")


if __name__ == "__main__":
    main()
