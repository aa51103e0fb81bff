"""Pictures for the docs: originals, obfuscated, and what each attack makes of them, the same image down a column.

    python studies/obfuscation_sheet.py DATA SETTING --prepared PREPARED [--credit TEXT] --out FOLDER

Writes `obfuscation-DATA-SETTING.png`. Attacks and sizes are those of studies/obfuscation.toml, seed 0, so that the
figures of the study are of the same reconstructions. The images shown are the first targets, which stand in the order
of a hash or of the source: no flattering selection. Of `coronary` no picture may be shown.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from veilray.privacy.guarantee import EMPIRICAL
from veilray.report import draw_sheet
from veilray.report.sheet import Row
from veilray_studies.kinds.obfuscation_cells import played
from veilray_studies.kinds.obfuscation_game import Game, PreparedSet
from veilray_studies.kinds.obfuscation_settings import SETTINGS, WITHOUT_PICTURES
from veilray_studies.kinds.obfuscation_table import ATTACKS

STUDY = Path(__file__).with_name("obfuscation.toml")
HIDDEN = ("coronary",)
"""No licence to show them."""
SHOWN = 8
"""As many as the attack on one picture by itself is tried on."""


def main() -> None:
    """Play every attack that the setting allows, and draw."""
    options = _arguments()
    setting = SETTINGS[options.setting]
    game = Game(PreparedSet(options.prepared / options.data), options.setting, 0)
    fixed = tomllib.loads(STUDY.read_text("utf-8"))["fixed"]
    rows: list[Row] = []
    for attack in ATTACKS:
        learns_a_map = not attack.startswith("u-net")
        if attack in WITHOUT_PICTURES or (not setting.keyed and (learns_a_map or attack == "u-net-same-key")):
            continue
        target, result = played(game, {**fixed, "measure": attack})
        if not rows:
            rows += [Row("original", target.originals[:SHOWN])]
            rows += [Row(f"obfuscated:\n{setting.title}", target.view.obfuscated[:SHOWN])]
        assert result.reconstructions is not None
        rows.append(Row(f"{attack},\nSSIM {result.released.value:.2f}", result.reconstructions[:SHOWN]))
        print(attack, result.released, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    note = f"{EMPIRICAL}. {options.credit}".strip()
    draw_sheet(rows, options.out / f"obfuscation-{options.data}-{options.setting}.png", note=note)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("setting", choices=tuple(SETTINGS))
    parser.add_argument("--prepared", type=Path, required=True, help="folder of studies/prepare_obfuscation.py")
    parser.add_argument("--credit", default="", help="added to the line below the sheet")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.data in HIDDEN:
        parser.error(f"no picture of {options.data} may be shown")
    return options


if __name__ == "__main__":
    main()
