"""Prepare the study of tables: the three tables as numbers, and a model for each table, setting and seed.

    pip install --no-deps dataprep          (Adult; the other two come with scikit-learn)
    python studies/prepare_tables.py [--seeds 5] [--out build/tables] [--csv FOLDER] [--tables NAME ...]

With --csv it also writes each table as public.csv, private.csv and test.csv of seed 0, to try the commands on.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import shutil
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes

from veilray.methods.tables import CADPTable
from veilray.tables import Records, Schema
from veilray_studies.kinds.tables_cells import CONDITIONS, TARGETS, rows_of

HERE = Path(__file__).parent
STATEMENTS = {
    "adult": "two fifths of Adult (Becker and Kohavi 1996), or 300 rows of it",
    "breast-cancer": "two fifths of Breast Cancer Wisconsin (Wolberg et al. 1995), or 60 rows of it",
    "diabetes": "two fifths of Diabetes (Efron et al. 2004), or 60 rows of it",
}


def adult(schema: Schema) -> np.ndarray:
    """Adult, complete: cells of the file have a leading blank, `?` is missing, the last column is income."""
    found = importlib.util.find_spec("dataprep")
    if found is None or found.origin is None:
        raise SystemExit("Adult must be installed: pip install --no-deps dataprep")
    path = Path(found.origin).parent / "datasets" / "data" / "adult.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    values = np.empty((len(rows), len(schema.columns)))
    for place, column in enumerate(schema.columns):
        name = "class" if column.name == "income" else column.name
        values[:, place], reasons = column.read([row[name] for row in rows])
        assert not any(reasons), (column.name, set(reasons))
    return values


def breast_cancer(schema: Schema) -> np.ndarray:
    """scikit-learn's table with the diagnosis last; 0 is malignant."""
    found = load_breast_cancer()
    return np.column_stack([found.data, found.target])


def diabetes(schema: Schema) -> np.ndarray:
    """scikit-learn's table, unscaled, sex as a level, with the progression last."""
    found = load_diabetes(scaled=False)
    data = found.data.copy()
    data[:, 1] -= 1
    return np.column_stack([data, found.target])


READERS = {"adult": adult, "breast-cancer": breast_cancer, "diabetes": diabetes}


def main() -> None:
    """Write build/tables/{TABLE.npz, TABLE.yaml, TABLE-SETTING-SEED/}; what is there is used again."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--out", type=Path, default=Path("build/tables"))
    arguments.add_argument("--csv", type=Path)
    arguments.add_argument("--tables", nargs="+", choices=list(READERS), default=list(READERS))
    asked = arguments.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for table in asked.tables:
        schema = Schema.from_yaml(HERE / "tables" / f"{table}.yaml")
        records = Records.of(schema, READERS[table](schema)).snapped()
        np.savez_compressed(asked.out / f"{table}.npz", values=records.values)
        schema.to_yaml(asked.out / f"{table}.yaml")
        if asked.csv is not None:
            _write_parts(asked.csv / table, table, records)
    for seed in range(asked.seeds):
        for setting in ("labelled", "scarce"):
            for table in asked.tables:
                _fit(asked.out, table, setting, seed)


def _write_parts(folder: Path, table: str, records: Records) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("public", "private", "test"), rows_of(records, 0, "labelled", table), strict=True):
        part.write_csv(folder / f"{name}.csv")
    records.schema.to_yaml(folder / "schema.yaml")


def _fit(out: Path, table: str, setting: str, seed: int) -> None:
    folder = out / f"{table}-{setting}-{seed}"
    if (folder / "model.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    with np.load(out / f"{table}.npz", allow_pickle=False) as found:
        records = Records.of(Schema.from_yaml(out / f"{table}.yaml"), found["values"])
    public, _, _ = rows_of(records, seed, setting, table)
    task = TARGETS[table]
    model = CADPTable.fit(
        public,
        folder,
        condition=CONDITIONS[table],
        task=task,
        seed=seed,
        training_data="public",
        statement=STATEMENTS[table],
        name=f"{table}-{setting}",
    )
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    print(folder.name, model.card.figures, flush=True)


if __name__ == "__main__":
    main()
