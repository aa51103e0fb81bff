"""The cloud's two programs: train a classifier on OBFUSCATED, and predict for pictures sent later."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from veilray.cloud.classifier import Classifier, load_classifier
from veilray.cloud.networks import NETWORKS
from veilray.cloud.received import open_obfuscated
from veilray.cloud.training import CLOUD_TRAINING, fit_network
from veilray.durable import whole_folder
from veilray.networks.settings import TrainingSettings
from veilray.places import check_apart, check_new_file, write_new
from veilray.privacy.guarantee import EMPIRICAL

__all__ = ["Predicted", "cloud_predict", "cloud_train"]


@dataclass(frozen=True)
class Predicted:
    """What was predicted, `(n, levels)` probabilities in the order of `paths`; figures where labels were given."""

    paths: tuple[str, ...]
    levels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    figures: dict[str, float]
    claim: str = EMPIRICAL


def cloud_train(
    obfuscated: Path,
    out: Path,
    *,
    network: str = "level-sets",
    settings: TrainingSettings = CLOUD_TRAINING,
    on_read: Callable[..., None] | None = None,
    on_progress: Callable[..., None] | None = None,
) -> Classifier:
    """Train a classifier on the pictures and labels of an OBFUSCATED folder, binary or of more classes.

    Args:
        out: CLASSIFIER, a new folder, complete or not there.
        settings: how to train.
        on_read: called with (done, total) pictures as they are read; on_progress: with (done, total, note) epochs.

    Raises:
        ValueError: where `out` exists or cannot be made, the folder is damaged, or has no labels to learn.
    """
    check_apart({"CLASSIFIER": out}, {"OBFUSCATED": obfuscated})
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
    with whole_folder(out, "CLASSIFIER") as folder:
        received = open_obfuscated(obfuscated, on_read)
        if received.labels is None:
            raise ValueError(f"OBFUSCATED must come with labels to train on, got none in {obfuscated}")
        levels = tuple(sorted(set(received.labels)))
        targets = np.searchsorted(np.array(levels), np.array(received.labels)).astype(np.int64)
        model, figures = fit_network(
            received.images,
            targets,
            len(levels),
            network=network,
            settings=settings,
            on_progress=on_progress,
        )
        classifier = Classifier.of(model, network, levels, received.told, asdict(figures))
        classifier.save(folder)
    return classifier


def cloud_predict(
    classifier: Path,
    obfuscated: Path,
    out: Path,
    *,
    allow_other_key: bool = False,
    on_read: Callable[..., None] | None = None,
    on_progress: Callable[..., None] | None = None,
) -> Predicted:
    """Predict for every picture of an OBFUSCATED folder and write a table: path, prediction, a probability a level.

    The owner finds whose picture a path is in RECORD; the cloud cannot.

    Args:
        out: a new CSV file.
        on_read, on_progress: called with (done, total) pictures as they are read, and as they are predicted.

    Raises:
        ValueError: where `out` exists, a folder is damaged, or the pictures are of another size.
        Refused: for pictures under another key unless it is allowed, or under the same key by another model.
    """
    check_new_file("--out", out)
    check_apart({"--out": out}, {"OBFUSCATED": obfuscated})
    known = load_classifier(classifier)
    received = open_obfuscated(obfuscated, on_read)
    known.check(received.told, allow_other_key=allow_other_key)
    rows = known.predict_proba(received.images, on_progress)
    levels = known.card.levels
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "predicted", *(f"probability of {level}" for level in levels)])
    for path, row in zip(received.paths, rows, strict=True):
        writer.writerow([path, levels[int(row.argmax())], *(f"{value:.6f}" for value in row)])
    write_new("--out", out, text.getvalue().encode())
    return Predicted(received.paths, levels, rows, _figures(levels, rows, received.labels))


def _figures(levels: tuple[str, ...], rows: NDArray[np.float64], labels: tuple[str, ...] | None) -> dict[str, float]:
    """Accuracy, and the AUC of two levels, over the pictures whose label the classifier knows."""
    if labels is None:
        return {}
    truth: NDArray[Any] = np.array([levels.index(label) if label in levels else -1 for label in labels])
    kept = truth >= 0
    if not kept.any():
        return {}
    figures = {"images": float(kept.sum()), "accuracy": round(float((rows.argmax(1) == truth)[kept].mean()), 4)}
    if len(levels) == 2 and len(set(truth[kept].tolist())) == 2:
        figures["auc"] = round(float(roc_auc_score(truth[kept], rows[kept, 1])), 4)
    return figures
