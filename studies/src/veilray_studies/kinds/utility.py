"""Utility of a true claim: train on what was released, test on real images, with the attacks beside it.

One cell is one data set, kept code, mechanism, epsilon, space and seed. In the space `code` learners see the released
code rows and are asked about clean codes; in the space `image` they see the decoded pictures and are asked about real
ones. The mechanisms `raw` (no protection) and `null` (noise alone) are the ends of the scale. A seed varies noise,
learner and attacker; codes and networks are fitted once.

k is what the public images chose. A cell with `keep` forces it, to show afterwards what each k would have given; and
`bounded` is then what the directional mechanism starts from, the direction of those numbers, with no noise at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilray_studies.contract import NO_CLAIM, STUDIES, Parameters, Study
from veilray_studies.kinds.utility_settings import DECAYED, PREPARE

if TYPE_CHECKING:
    from veilray_studies.table import StudyTable

__all__ = ["Utility"]

_SPACES = ("code", "image")
_CONTROLS = ("raw", "null", "bounded")
"""What has no epsilon."""
_SECONDS = {"code": 15.0, "image": 200.0}


class Utility(Study):
    """Train on released, test on real."""

    key_columns = ("dataset", "code", "mechanism", "epsilon", "space", "seed", "keep")
    optional_columns = ("keep",)
    result_columns = (
        "learner",
        "kept",
        "metric",
        "value",
        "low",
        "high",
        "images",
        "patient_epsilon",
        "rank_one",
        "rank_one_line",
        "verification",
        "verification_line",
        "attacks_verdict",
        "density",
        "coverage",
    )
    settings = ("prepared",)

    def estimate_seconds(self, cell: Parameters) -> float:
        if cell["space"] not in _SPACES:
            raise ValueError(f"space must be one of {', '.join(_SPACES)}, got {cell['space']!r}")
        if (cell["mechanism"] in _CONTROLS) != (cell["epsilon"] == NO_CLAIM):
            raise ValueError(f"epsilon must be none for {', '.join(_CONTROLS)} alone, got {cell['epsilon']!r}")
        if cell["mechanism"] == "bounded" and "keep" not in cell:
            raise ValueError("keep must be given for bounded, got none")
        if "keep" in cell and (cell["space"] != "code" or cell["mechanism"] == "null"):
            raise ValueError(f"keep must be absent for pictures and null, got {cell['keep']!r}")
        return _SECONDS[str(cell["space"])]

    def check(self, cell: Parameters, base: Path) -> None:
        folder = base / str(cell["prepared"]) / str(cell["dataset"])
        read = ["sets.npz"]
        if cell["space"] == "code":
            read += [f"codes/{str(cell['code']).removesuffix(DECAYED)}.npz", "keep.json"]
        elif cell["mechanism"] != "raw":
            read += ["model/model.json"]
        for name in read:
            if not (folder / name).exists():
                raise ValueError(f"data set must be prepared, got none in {folder / name}: {PREPARE}")

    def run(self, cell: Parameters, base: Path) -> Sequence[Mapping[str, Any]]:
        from veilray_studies.kinds.prepared import Prepared
        from veilray_studies.kinds.utility_cells import measured

        prepared = Prepared(base / str(cell["prepared"]) / str(cell["dataset"]))
        empty = dict.fromkeys(self.result_columns)
        return [{**empty, **row} for row in measured(prepared, cell)]

    def plot(self, rows: StudyTable, folder: Path) -> list[Path]:
        from veilray_studies.kinds.utility_plots import draw

        return draw(rows, folder)

    def table(self, rows: StudyTable, name: str) -> str:
        """DATASET SPACE: what was learned in a space; DATASET keeps: what each k would have given."""
        from veilray_studies.kinds.utility_keeps import keeps_table
        from veilray_studies.kinds.utility_table import table

        dataset, _, space = name.partition(" ")
        return keeps_table(rows, dataset) if space == "keeps" else table(rows, dataset, space)


STUDIES.register("utility")(Utility())
