"""Contact sheets are readable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veilray.report import Row, draw_sheet


@pytest.mark.parametrize("title", ["short", "through the encoder, then a map;\none map for all the images of a key"])
def test_a_title_is_seen_whole(tmp_path: Path, title: str) -> None:
    draw_sheet([Row(title, np.full((2, 1, 8, 8), 255, np.uint8))], tmp_path / "sheet.png")
    grey = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert grey.min() < 100
    assert (grey[:, :3] == 255).all()
