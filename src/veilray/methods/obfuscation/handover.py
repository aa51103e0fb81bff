"""OBFUSCATED: the folder that goes to the cloud, built in a hidden spool and published by one rename.

    OBFUSCATED/
        README              what this is, in plain words
        obfuscated.json     recipe, the key's public identifier, hashes of all files
        labels.csv          path and label, where labels are given
        images/             PNGs under fresh random names in random order

Nothing in it links to a source: picture files carry pixels only, times are one and the same.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.durable import whole_folder
from veilray.images import encode_png
from veilray.methods.obfuscation.keys import Key
from veilray.methods.obfuscation.method import NAME, Obfuscation
from veilray.places import OBFUSCATED_JSON
from veilray.privacy.guarantee import EMPIRICAL

__all__ = ["Handover", "spooled"]

FORMAT = "veilray-obfuscated"
_IMAGES = "images"
_CORES = os.cpu_count() or 1


class Handover:
    """The unfinished folder; see `spooled`.

    Args:
        folder: hidden, mode 0700.
        writers: threads that compress and write, one a core.
        day: the date on everything.
    """

    def __init__(self, folder: Path, writers: ThreadPoolExecutor, day: date) -> None:
        self.files: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self._folder = folder
        self._writers = writers
        self._day = day
        self._moment = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()

    def place(self, names: Sequence[str], images: NDArray[np.uint8]) -> Callable[[], list[tuple[str, str]]]:
        """Begin to write pictures `(n, c, h, w)` under random `names`.

        Returns:
            What waits for the end of it and gives the path and SHA-256 of each.
        """
        bounds = np.linspace(0, len(names), 2 * _CORES + 1).astype(int).tolist()
        parts = [slice(start, stop) for start, stop in pairwise(bounds)]
        begun = [self._writers.submit(self._write_images, names[part], images[part]) for part in parts]

        def settled() -> list[tuple[str, str]]:
            placed = [file for part in begun for file in part.result()]
            self.files.update(placed)
            return placed

        return settled

    def finish(self, model: Obfuscation, key: Key) -> None:
        """Write what stands beside the pictures, and give all files one time."""
        count, levels = len(self.files), sorted(set(self.labels.values()))
        if self.labels:
            self._write("labels.csv", _table(sorted(self.labels.items())))  # the order of the work tells of maps
        self._write("README", _readme(model, key, count, levels))
        recipe = model.recipe
        maps = {"levels": recipe.maps.levels, "smoothness": recipe.maps.smoothness, "scope": recipe.maps.scope}
        told: dict[str, Any] = {
            "format": FORMAT,
            "version": 1,
            "claim": EMPIRICAL,
            "guarantee": None,
            "date": self._day.isoformat(),
            "software": f"veilray {version('veilray')}",
            "method": NAME,
            "encoder": recipe.encoder,
            "encoding": recipe.encoding,
            "order": recipe.order,
            "map": maps if recipe.keyed else None,
            "geometry": {"size": recipe.size, "channels": recipe.channels, "bits": 8},
            "model_sha256": model.identity(key),
            "key": key.identifier,
            "images": count,
            "labels": levels,
            "files": dict(sorted(self.files.items())),
        }
        self._write(OBFUSCATED_JSON, json.dumps(told, indent=2) + "\n")
        for folder in (self._folder / _IMAGES, self._folder):
            folder.chmod(0o755)
            os.utime(folder, (self._moment, self._moment))

    def _write_images(self, names: Sequence[str], images: NDArray[np.uint8]) -> list[tuple[str, str]]:
        contents = (encode_png(image) for image in images)
        return [
            (path, self._put(path, content))
            for path, content in zip((f"{_IMAGES}/{name}.png" for name in names), contents, strict=True)
        ]

    def _write(self, name: str, text: str) -> None:
        self.files[name] = self._put(name, text.encode())

    def _put(self, name: str, content: bytes) -> str:
        """Write one file; return its SHA-256. All have one time: the order of the work does not show."""
        descriptor = os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)
            os.fchmod(descriptor, 0o644)
            os.utime(descriptor, (self._moment, self._moment))
        return hashlib.sha256(content).hexdigest()


@contextmanager
def spooled(out: Path) -> Iterator[Handover]:
    """A hidden folder beside `out`, renamed to it at the end; on any error or interrupt it is taken away.

    Nothing is synced on the way: an unfinished folder is thrown away, and one can be made again at no cost.
    """
    with whole_folder(out, "OBFUSCATED", mode=0o700) as folder:
        (folder / _IMAGES).mkdir(mode=0o700)
        with ThreadPoolExecutor(_CORES) as writers:
            yield Handover(folder, writers, datetime.now(UTC).date())
        os.sync()


def _table(labels: Sequence[tuple[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "label"])
    writer.writerows(labels)
    return text.getvalue()


def _readme(model: Obfuscation, key: Key, count: int, labels: Sequence[str]) -> str:
    recipe = model.recipe
    title = f"{count:,} obfuscated images"
    steps = {
        "map-last": "through an autoencoder, then a random intensity map",
        "map-first": "through a random intensity map, then an autoencoder",
        "no-map": "through an autoencoder; no key has a part in them",
    }
    how = "through a random intensity map" if recipe.encoder == "none" else steps[recipe.order]
    in_clear = f"Labels are given in clear: {', '.join(labels)}.\n" if labels else "No labels are given.\n"
    return (
        f"{title}\n{'=' * len(title)}\n\n"
        f"Obfuscation: {EMPIRICAL}.\n"
        "These pictures are harder to read than those they were made from. That is all: no statement about what they\n"
        "still show can be proved, edges stay where they were, and attacks recover parts of some settings.\n"
        "They stand for pictures of patients, and need the care that those need.\n\n"
        f"How they were made: {how}. {recipe.size} x {recipe.size} pixels.\n"
        f"{in_clear}"
        f"Key {key.identifier} (this is its public name; the key stays with the owner).\n"
        f"Model {model.identity(key)[:16]}.\n"
        "Files: images/ (PNG), labels.csv where labels are given, obfuscated.json (recipe, SHA-256 of every file).\n"
        "For training and testing of image models; not for diagnosis.\n"
    )
