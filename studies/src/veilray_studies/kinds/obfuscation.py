"""Obfuscation with a key: what a cloud still learns, what each attack recovers, and what it costs.

One cell is one data set, one setting, one measure and one seed. Measures are `utility-NETWORK`, the attacks by name
(`u-net-KNOWLEDGE` for the network on known pairs), `figures` (what the maps leave standing, before any attack) and
`time`. A seed varies the key, the cloud's network and the attacker; encoders are fitted once for a data set. Every row
is one figure. There is no epsilon and no line: empirical, no formal guarantee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilray_studies.contract import STUDIES, Parameters, Study
from veilray_studies.kinds.obfuscation_settings import RAW, SETTINGS

if TYPE_CHECKING:
    from veilray_studies.table import StudyTable

__all__ = ["ObfuscationStudy"]

_SECONDS = {
    "utility-level-sets": 30.0,
    "utility-cnn": 30.0,
    "utility-resnet": 45.0,
    "utility-levels": 45.0,
    "figures": 10.0,
    "time": 30.0,
    "rank-matching": 8.0,
    "key-reuse": 12.0,
    "ciphertext-only": 12.0,
    "grey-ramp": 10.0,
    "known-pairs": 12.0,
    "u-net-informed": 30.0,
    "u-net-uninformed": 30.0,
    "u-net-same-key": 30.0,
    "edge-leak": 8.0,
    "histogram-attribute": 10.0,
}
_ON_RAW = ("utility-level-sets", "utility-cnn", "utility-resnet", "utility-levels")


class ObfuscationStudy(Study):
    """Obfuscated pictures in the cloud, under attack, and on the clock."""

    key_columns = ("data", "setting", "measure", "seed")
    result_columns = ("figure", "value", "low", "high", "images", "note")
    settings = ("prepared", "targets", "pairs", "unet_steps", "training_steps")

    def estimate_seconds(self, cell: Parameters) -> float:
        setting, measure = str(cell["setting"]), str(cell["measure"])
        if setting not in (RAW, *SETTINGS):
            raise ValueError(f"setting must be one of {', '.join((RAW, *SETTINGS))}, got {setting!r}")
        if measure not in _SECONDS:
            raise ValueError(f"measure must be one of {', '.join(_SECONDS)}, got {measure!r}")
        if setting == RAW and measure not in _ON_RAW:
            raise ValueError(f"measure must be one of {', '.join(_ON_RAW)} of raw pictures, got {measure!r}")
        if measure == "u-net-same-key" and not SETTINGS[setting].keyed:
            raise ValueError(f"u-net-same-key must be of a setting with a key, got {setting!r}: use u-net-informed")
        return _SECONDS[measure]

    def check(self, cell: Parameters, base: Path) -> None:
        folder = base / str(cell["prepared"]) / str(cell["data"])
        read = ["sets.npz"]
        if cell["setting"] != RAW:
            read.append(f"models/{SETTINGS[str(cell['setting'])].model}/model.json")
        for name in read:
            if not (folder / name).exists():
                raise ValueError(f"{name} must be prepared, got none in {folder}: run studies/prepare_obfuscation.py")

    def run(self, cell: Parameters, base: Path) -> Sequence[Mapping[str, Any]]:
        from veilray_studies.kinds.obfuscation_cells import measured
        from veilray_studies.kinds.obfuscation_game import PreparedSet

        prepared = PreparedSet(base / str(cell["prepared"]) / str(cell["data"]))
        return [{**dict.fromkeys(self.result_columns), **row} for row in measured(prepared, cell)]

    def plot(self, rows: StudyTable, folder: Path) -> list[Path]:
        from veilray_studies.kinds.obfuscation_plots import draw

        return draw(rows, folder)

    def table(self, rows: StudyTable, name: str) -> str:
        """`utility DATA`, `attacks DATA` or `verdicts DATA` of a data set; others over all of them."""
        from veilray_studies.kinds.obfuscation_table import TABLES, TABLES_OF_ONE

        table, _, data = name.partition(" ")
        if table not in (TABLES_OF_ONE if data else TABLES):
            raise ValueError(f"table must be one of {', '.join([*TABLES_OF_ONE, *TABLES])}, got {table!r}")
        return TABLES_OF_ONE[table](rows, data) if data else TABLES[table](rows)


STUDIES.register("obfuscation")(ObfuscationStudy())
