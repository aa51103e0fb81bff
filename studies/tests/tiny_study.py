"""A small real study for the tests: what a mechanism keeps of four numbers, with faults on demand."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veilray_studies import STUDIES, Parameters, Study, StudyTable


class Tiny(Study):
    key_columns = ("mechanism", "epsilon", "seed", "fault")
    result_columns = ("measure", "value", "threads")
    optional_columns = ("fault",)
    settings = ("folder",)

    def estimate_seconds(self, cell: Parameters) -> float:
        return float(cell["epsilon"])

    def check(self, cell: Parameters, base: Path) -> None:
        if cell.get("fault") == "absent":
            raise ValueError("a source must be there, got none: make one")

    def run(self, cell: Parameters, base: Path) -> Sequence[Mapping[str, Any]]:
        self._fail(str(cell.get("fault", "")), base)
        if cell.get("fault") == "no rows":
            return []
        if cell.get("fault") == "odd row":
            return [{"measure": "correlation"}]
        from veilray.privacy import MECHANISMS, Claim, SeededEntropy

        mechanism = MECHANISMS[str(cell["mechanism"])].calibrate(Claim.of(str(cell["epsilon"])), 4)
        entropy = SeededEntropy(f"tiny {cell['seed']}")
        import numpy as np

        rows = np.random.default_rng(int(cell["seed"])).standard_normal((2000, 4))
        released = mechanism.release(rows, entropy)
        kept = np.corrcoef(rows.ravel(), released.ravel())[0, 1]
        threads = os.environ["OMP_NUM_THREADS"]
        return [
            {"measure": "correlation", "value": kept, "threads": threads},
            {"measure": "distortion", "value": np.square(rows - released).mean(), "threads": None},
        ]

    def plot(self, rows: StudyTable, folder: Path) -> list[Path]:
        target = folder / "tiny.txt"
        means = {key: group.mean("value") for key, group in rows.group(("mechanism", "measure")).items()}
        target.write_text("\n".join(f"{key} {mean.mean:.4f} {mean.count}" for key, mean in means.items()))
        return [target]

    def _fail(self, fault: str, base: Path) -> None:
        if fault == "raise":
            raise ArithmeticError("no such number")
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            (base / f"hanging-{os.getpid()}").touch()
            time.sleep(600)
        if fault == "print":
            sys.stdout.write("{this is not the result\n")


STUDIES.register("tiny")(Tiny())
