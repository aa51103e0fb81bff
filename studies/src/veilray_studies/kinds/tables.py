"""Released rows: train on them, test on real ones, beside every floor, k-RR and a central synthesiser.

One cell is one table in one setting, one release or control, a policy of its condition, and a seed; it has one row for
each epsilon and learner. A seed fixes the split into public, private and test rows, the fitted model, noise, learners
and attackers. Releases are `cadp` on tables under a registered mechanism, per-column randomised response (`k-rr-...`)
and a central synthesiser (`central`, another trust: its curator sees the rows). Controls are `raw`, `public-only` and
`null-conditional` (the condition and no row).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilray_studies.contract import NO_CLAIM, STUDIES, Parameters, Study
from veilray_studies.kinds.tables_settings import CONTROLS, MECHANISMS, RESPONSES, SETTINGS, TABLES

if TYPE_CHECKING:
    from veilray_studies.table import StudyTable

__all__ = ["TablesStudy"]

_SECONDS = {"raw": 8.0, "public-only": 8.0, "null-conditional": 90.0, "central": 120.0}


class TablesStudy(Study):
    """Releases of tables, and every control."""

    key_columns = ("table", "setting", "release", "policy", "seed")
    result_columns = (
        "epsilon",
        "learner",
        "metric",
        "value",
        "low",
        "high",
        "chance",
        "rows",
        "condition_epsilon",
        "column_shapes",
        "column_pair_trends",
        "rank_one",
        "rank_one_line",
        "singling_out",
        "singling_out_high",
        "linkability",
        "linkability_high",
        "inference",
        "inference_high",
    )
    settings = ("prepared",)

    def estimate_seconds(self, cell: Parameters) -> float:
        release, policy = str(cell["release"]), str(cell["policy"])
        allowed = (*MECHANISMS, *RESPONSES, *CONTROLS, "central")
        for name, value, known in (
            ("table", str(cell["table"]), TABLES),
            ("setting", str(cell["setting"]), SETTINGS),
            ("release", release, allowed),
            ("policy", policy, ("public", "randomised", NO_CLAIM)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if (policy == NO_CLAIM) != (release in ("raw", "public-only", "central")):
            raise ValueError(f"policy must be none where no condition leaves, and only there, got {policy!r}")
        share = 1.0 if cell["table"] == "adult" else 0.3
        return _SECONDS.get(release, 40.0) * share

    def check(self, cell: Parameters, base: Path) -> None:
        folder = base / str(cell["prepared"])
        model = folder / f"{cell['table']}-{cell['setting']}-{cell['seed']}" / "model.json"
        for path in (folder / f"{cell['table']}.npz", model):
            if not path.exists():
                raise ValueError(f"{path.name} must be prepared, got none in {path.parent}: studies/prepare_tables.py")

    def run(self, cell: Parameters, base: Path) -> Sequence[Mapping[str, Any]]:
        from veilray_studies.kinds.tables_cells import TableSet, measured

        prepared = TableSet(base / str(cell["prepared"]), str(cell["table"]), str(cell["setting"]), int(cell["seed"]))
        empty = dict.fromkeys(self.result_columns)
        return [{**empty, **row} for row in measured(prepared, str(cell["release"]), str(cell["policy"]))]

    def plot(self, rows: StudyTable, folder: Path) -> list[Path]:
        from veilray_studies.kinds.tables_plots import draw

        return draw(rows, folder)

    def table(self, rows: StudyTable, name: str) -> str:
        """TABLE-SETTING: what was learned; `target`, `fidelity`, `risks` and `linkage` over all of them."""
        from veilray_studies.kinds.tables_text import OVER_ALL, utility_table

        table, _, setting = name.rpartition("-")
        return OVER_ALL[name](rows) if name in OVER_ALL else utility_table(rows, table, setting)


STUDIES.register("tables")(TablesStudy())
