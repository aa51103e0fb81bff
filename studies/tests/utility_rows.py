"""A small made-up utility study, written to disk as the runner writes one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from veilray.evaluation.lines import reidentification, verification_auc, verification_auc_mu
from veilray_studies import STUDIES, StudyTable
from veilray_studies.storage import open_for_append
from veilray_studies.table import text_of

KEPT = {"directional": 0.95, "codebook": 0.85, "selection": 0.9, "laplace": 0.35, "gaussian": 0.5}
CODES = {"pixels": 0.9, "vae": 0.7, "gram": 0.6, "levels": 0.4}
ENDS = {"chest-x-ray": ("auc", 0.5, 0.94), "fashion-mnist": ("accuracy", 0.1, 0.8)}
FORCED = (1, 4, 16)
EPSILONS = ("0.25", "0.5", "1", "2", "4", "8")

Cells = Iterator[tuple[dict[str, str], list[dict[str, Any]]]]


def written(path: Path, seeds: int = 3, datasets: Sequence[str] = tuple(ENDS)) -> StudyTable:
    """Every cell of a small study with these seeds, read back from its CSV."""
    study = STUDIES["utility"]
    with open_for_append(path, study) as file:
        for dataset in datasets:
            for seed in range(seeds):
                for cell, rows in _cells(dataset, seed):
                    key = [cell.get(name, "") for name in study.key_columns]
                    told = [[text_of(row.get(name)) for name in study.result_columns] for row in rows]
                    file.append(key, told, 1.0, "0")
    return StudyTable.read(path)


def _cells(dataset: str, seed: int) -> Cells:
    metric, null, raw = ENDS[dataset]

    def score(learner: str, reached: float, **told: Any) -> dict[str, Any]:
        value = null + (raw - null) * reached + 0.01 * (seed - 1)
        return {"learner": learner, "metric": metric, "value": value, "images": 100, **told}

    def cell(**named: str) -> dict[str, str]:
        return {"dataset": dataset, "code": "invariant", "seed": str(seed), **named}

    for space, learner in (("code", "code-logistic"), ("image", "logistic")):
        yield cell(mechanism="raw", epsilon="none", space=space), [score(learner, 1.0)]
        yield cell(mechanism="null", epsilon="none", space=space), [score(learner, 0.0)]
    for epsilon in EPSILONS:
        strength = 1 - math.exp(-2 * float(epsilon))
        for mechanism, share in KEPT.items():
            attacked = _attacked(mechanism, float(epsilon), seed)
            rows = [score("code-logistic", share * strength, kept=4, **attacked)]
            if mechanism == "directional":
                rows.append(score("code-aware", strength, kept=4, **attacked))
            yield cell(mechanism=mechanism, epsilon=epsilon, space="code"), rows
        pictured = [score(name, less * strength, kept=8) for name, less in (("logistic", 0.7), ("cnn", 0.8))]
        yield cell(mechanism="directional", epsilon=epsilon, space="image"), pictured
        for code, share in CODES.items():
            rows = [score("code-logistic", share * strength, kept=2)]
            yield cell(mechanism="directional", epsilon=epsilon, space="code", code=code), rows

    for keep in FORCED:
        at = {"space": "code", "keep": str(keep)}
        for mechanism, share in (("raw", 1.0), ("bounded", 0.9)):
            if seed == 0:
                rows = [score("code-logistic", share * (1 - 1 / (keep + 1)), kept=keep)]
                yield cell(mechanism=mechanism, epsilon="none", **at), rows
        for epsilon in ("1", "4"):
            rows = [score("code-logistic", 0.8 * (1 - 1 / (keep + 1)), kept=keep)]
            yield cell(mechanism="directional", epsilon=epsilon, **at), rows


def _attacked(mechanism: str, epsilon: float, seed: int) -> Mapping[str, Any]:
    line = verification_auc_mu(epsilon / 5) if mechanism == "gaussian" else verification_auc(epsilon)
    found = 0.5 + KEPT[mechanism] * (line - 0.5) * 0.99 + 0.004 * (seed - 1)
    rank = reidentification(epsilon, 100) * (0.2 if mechanism == "gaussian" else 1)
    return {
        "rank_one": 0.01 + KEPT[mechanism] * max(0.0, rank - 0.01) / 2,
        "rank_one_line": max(rank, 0.012),
        "verification": found,
        "verification_line": line,
        "attacks_verdict": "within the line; within the line",
    }
