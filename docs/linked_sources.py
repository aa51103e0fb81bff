"""MkDocs hook: source files that a page links to as `../../src/...` become part of the site: no link leaves it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_LINK = re.compile(r"(?<=\]\()((?:\.\./)+)(src/[\w/]+\.py)(?=\))")


def on_files(files: Any, config: Any) -> Any:
    """Add each linked source file once."""
    root = Path(config.config_file_path).parent
    pages = [Path(file.abs_src_path).read_text("utf-8") for file in files.documentation_pages()]
    for place in sorted({place for page in pages for _, place in _LINK.findall(page)}):
        files.append(File.generated(config, place, abs_src_path=str(root / place)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """In the site `src` stands beside the pages, one folder less far away than in the repository."""
    return _LINK.sub(lambda found: f"{found[1].removesuffix('../')}{found[2]}", markdown)
