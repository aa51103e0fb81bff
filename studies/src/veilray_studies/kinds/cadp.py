"""Content-aware release under a diagnosis: train on released pictures, test on real ones, above every null.

One cell is one setting (a data set and what of it is public), one release or control, label policy, epsilon and seed.
Releases are `cadp` under a registered mechanism. Beside them stand `raw`, `null-conditional` (the label and no image),
`public-only`, `dp-sgd`, `published` (no claim), `content-code` (the directional method's code, unlabelled), and
`membership` (is the flow's training set told by its likelihood?). A seed varies noise, learner and attacker; the flow
of a setting is fitted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilray_studies.contract import NO_CLAIM, STUDIES, Parameters, Study

if TYPE_CHECKING:
    from veilray_studies.table import StudyTable

__all__ = ["POLICIES", "CadpStudy"]

POLICIES = ("public", "randomised", NO_CLAIM)

_MECHANISMS = ("directional", "laplace", "gaussian", "codebook", "selection")
_SECONDS = {
    "raw": 40.0,
    "null-conditional": 150.0,
    "public-only": 40.0,
    "dp-sgd": 120.0,
    "published": 200.0,
    "content-code": 15.0,
    "membership": 90.0,
}
_WITHOUT_EPSILON = ("raw", "public-only", "membership")


class CadpStudy(Study):
    """Releases of `cadp`, and every control."""

    key_columns = ("setting", "release", "policy", "epsilon", "seed")
    result_columns = (
        "learner",
        "metric",
        "value",
        "low",
        "high",
        "chance",
        "images",
        "label_epsilon",
        "label_kept",
        "layout",
        "consistency",
        "reader",
        "rank_one",
        "rank_one_line",
        "verification",
        "verification_line",
        "attacks_verdict",
        "control",
    )
    settings = ("prepared",)

    def estimate_seconds(self, cell: Parameters) -> float:
        release, policy, epsilon = str(cell["release"]), str(cell["policy"]), str(cell["epsilon"])
        if release not in (*_MECHANISMS, *_SECONDS):
            raise ValueError(f"release must be one of {', '.join((*_MECHANISMS, *_SECONDS))}, got {release!r}")
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
        nothing_drawn = release in _WITHOUT_EPSILON or (release == "null-conditional" and policy == "public")
        if nothing_drawn != (epsilon == NO_CLAIM):
            raise ValueError(f"epsilon must be none where nothing is drawn, and only there, got {epsilon!r}")
        return _SECONDS.get(release, 45.0)

    def check(self, cell: Parameters, base: Path) -> None:
        folder = base / str(cell["prepared"]) / str(cell["setting"])
        read = ["sets.npz"]
        if cell["release"] not in ("raw", "public-only", "dp-sgd", "published", "content-code"):
            read.append("model/model.json")
        if cell["release"] == "content-code":
            read.append("keep.json")
        if cell["policy"] == "randomised" and cell["release"] in _MECHANISMS:
            read.append("shares.json")
        for name in read:
            if not (folder / name).exists():
                raise ValueError(f"{name} must be prepared, got none in {folder}: run studies/prepare_cadp.py")

    def run(self, cell: Parameters, base: Path) -> Sequence[Mapping[str, Any]]:
        from veilray_studies.kinds.cadp_cells import measured
        from veilray_studies.kinds.cadp_prepared import CadpSet

        prepared = CadpSet(base / str(cell["prepared"]) / str(cell["setting"]))
        empty = dict.fromkeys(self.result_columns)
        return [{**empty, **row} for row in measured(prepared, cell)]

    def plot(self, rows: StudyTable, folder: Path) -> list[Path]:
        from veilray_studies.kinds.cadp_plots import draw

        return draw(rows, folder)

    def table(self, rows: StudyTable, name: str) -> str:
        """A setting: what was learned in it; `attacks` and `membership` over all settings."""
        from veilray_studies.kinds.cadp_table import attack_table, membership_table, utility_table

        over_all = {"attacks": attack_table, "membership": membership_table}
        return over_all[name](rows) if name in over_all else utility_table(rows, name)


STUDIES.register("cadp")(CadpStudy())
