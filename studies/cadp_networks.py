"""CADP's network against this project's conditional Glow: bits per dimension and parameters, at equal training time.

    python studies/cadp_networks.py [--out docs/data] [--data FOLDER] [--only digits|chest-x-ray] [--minutes M]

The same images, the label as the one condition, one thread, the same minutes of processor time (evaluation apart),
each network with the training that belongs to it. Digits: 28x28, 4,000 images of MNIST, 1.5 minutes each. Chest X-rays:
64x64, the public half of the canonical split, 3 minutes each. Bits are of the test part, uniformly dequantised.

Rows "published" are `veilray.methods.baselines`: for digits both readings of the published settings; for chest X-rays
the published settings for them (four resolutions, flat layers of 1,024 units, Glow couplings) at 64x64. Ours in these
rows: batch size, length of training, hidden channels as the configuration file names them at 64x64 (what ran has 128),
and, where the row says so, uniform dequantisation: the published noise on training images spans 25 to 38 grey levels,
so that no network trained on it has few bits. Networks that are only counted have no bits. Rows "this project" are
`veilray.flows.ConditionalGlow` with 8 steps a level and width 64, trained as `veilray fit` does. Rows are
appended to `OUT/cadp_networks.csv`; what is there already is not measured again. About 25 core-minutes.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datasets import digits, kermany
from veilray.evaluation.bootstrap import mean
from veilray.flows import Condition, ConditionalGlow, ConditionConfig, FlowTraining, GlowConfig, train
from veilray.images import Collection, Geometry, manifest_root
from veilray.methods.baselines import AS_CONFIGURED, AS_RUN, CADPAsPublished, CADPConfig, CADPNetwork

FOR_CHEST = CADPConfig(
    "glow", "permutation", (4, 4, 4, 4), (32, 64, 64, 64), 4, 1024, dropout=0.0, image_noise=0.1, learning_rate=3e-4
)
"""The published configuration for chest X-rays; its hidden channels are named there and not used: 128 ran."""
MINUTES = {"digits": 1.5, "chest-x-ray": 3.0}
LEVELS = {"digits": 2, "chest-x-ray": 4}
"""Resolutions of the conditional Glow: 28 = 7 x 4, 64 = 4 x 16."""
VALIDATION, BATCH = 100, 32

Pixels = NDArray[np.uint8]
Bits = Callable[[Pixels, NDArray[np.int64]], Any]


@dataclass(frozen=True)
class Set:
    """Images `(n, 1, s, s)` and labels of a training and a test part; the patients of the test part."""

    name: str
    images: Pixels
    labels: NDArray[np.int64]
    test_images: Pixels
    test_labels: NDArray[np.int64]
    test_patients: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]  # type: ignore[return-value]

    @property
    def kinds(self) -> int:
        return int(self.labels.max()) + 1


@dataclass(frozen=True)
class Row:
    """One network, as it stands in the CSV; without bits where it was only counted."""

    date: str
    data: str
    network: str
    parameters: int
    flat_parameters: int | None
    training_images: int | None = None
    batch_size: int | None = None
    cpu_minutes: float | None = None
    bits: float | None = None
    low: float | None = None
    high: float | None = None
    test_images: int | None = None


def open_set(name: str, data: Path) -> Set:
    with TemporaryDirectory() as folder:
        out = Path(folder)
        if name == "digits":
            digits(out)
            parts = {part: dict(np.load(out / f"{part}.npz")) for part in ("public", "private", "test")}
            known = [np.concatenate([parts[p][key] for p in ("public", "private")]) for key in ("images", "label")]
            test = parts["test"]
            return Set(name, known[0][:, None], known[1].astype(np.int64), test["images"][:, None],
                       test["label"].astype(np.int64), test["patient"])  # fmt: skip
        kermany(out, data)
        read = [_read(out / f"{part}.csv") for part in ("public", "test")]
    return Set(name, *read[0][:2], *read[1])


def _read(manifest: Path) -> tuple[Pixels, NDArray[np.int64], NDArray[Any]]:
    with Collection.open(manifest, root=manifest_root(manifest)) as collection:
        collection.scan()
        images = np.concatenate([batch for _, batch in collection.batches(Geometry(64, 1, 8), 256)])
        refs = collection.refs
    names = sorted({str(ref.label) for ref in refs})
    labels = np.array([names.index(str(ref.label)) for ref in refs], dtype=np.int64)
    return images, labels, np.array([str(ref.patient) for ref in refs])


def networks(data: Set, minutes: float) -> dict[str, Callable[[], Row]]:
    """What makes the row of each network of a data set."""
    shuffled = np.random.default_rng(0).permutation(len(data.images))
    data = replace(data, images=data.images[shuffled], labels=data.labels[shuffled])
    counted: dict[str, tuple[int, CADPConfig]] = {}
    if data.name == "digits":
        trained = {
            "published, as configured: GIN": (AS_CONFIGURED, 64),
            "published, as run: Glow": (AS_RUN, 64),
            "published, as run, uniform dequantisation": (replace(AS_RUN, image_noise=0.0), 64),
        }
    else:
        trained = {"published for chest X-rays, uniform dequantisation": (replace(FOR_CHEST, image_noise=0.0), 16)}
        ran = replace(FOR_CHEST, channels=(128,) * 4)
        counted = {
            "published for digits, as configured, at 64x64": (64, AS_CONFIGURED),
            "published for digits, flat width in proportion, at 64x64": (64, replace(AS_CONFIGURED, flat_width=2048)),
            "published for chest X-rays, as run, at 64x64": (64, ran),
            "published for chest X-rays, as run, at 128x128": (128, ran),
        }
    ours: dict[str, dict[str, Any]] = {
        "this project: affine": {},
        "this project: GIN": {"coupling": "gin"},
        "this project: affine, reshaping": {"downsampling": "reshape"},
    }
    return {
        **{name: partial(_counted, name, data, *asked) for name, asked in counted.items()},
        **{name: partial(_published, name, data, minutes, *asked) for name, asked in trained.items()},
        **{name: partial(_ours, name, data, minutes, options) for name, options in ours.items()},
    }


def _counted(name: str, data: Set, side: int, config: CADPConfig) -> Row:
    network = CADPNetwork((1, side, side), data.kinds, config)
    return Row(_today(), data.name, name, network.size, _size(network.flat))


def _published(name: str, data: Set, minutes: float, config: CADPConfig, batch: int) -> Row:
    started = time.process_time()
    system = CADPAsPublished.fit(
        data.images,
        data.labels,
        data.kinds,
        epochs=10**6,
        max_minutes=minutes,
        config=config,
        batch_size=batch,
        clock=time.process_time,
    )
    used, network = time.process_time() - started, system.network
    row = Row(_today(), data.name, name, network.size, _size(network.flat), len(data.images), batch)
    return _measured(row, used, data, system.bits_per_dimension)


def _ours(name: str, data: Set, minutes: float, options: dict[str, Any]) -> Row:
    config = GlowConfig(size=data.shape[1], levels=LEVELS[data.name], steps=8, width=64, **options)
    flow = ConditionalGlow(config, ConditionConfig(categorical=(data.kinds,)))
    used = _train(flow, data, minutes)
    row = Row(_today(), data.name, name, _size(flow), None, len(data.images) - VALIDATION, BATCH)
    return _measured(row, used, data, lambda images, labels: flow.bits_per_dimension(images, _told(labels)))


def _train(flow: ConditionalGlow, data: Set, minutes: float) -> float:
    """Train for so many minutes of processor time; return the seconds used.

    On a busy machine in several slices, each of the wall time that is left: never more, at most 5 % less.
    """
    started = time.process_time()
    with TemporaryDirectory() as folder:
        while (left := minutes - (time.process_time() - started) / 60) > 0.05 * minutes:
            train(
                flow,
                data.images[VALIDATION:],
                data.images[:VALIDATION],
                FlowTraining(epochs=10**6, batch_size=BATCH, patience=None, max_minutes=left, warmup_epochs=0.5),
                folder,
                resume=True,
                conditions=lambda chosen, _: _told(data.labels[VALIDATION:][chosen]),
                validation_conditions=_told(data.labels[:VALIDATION]),
            )
    return time.process_time() - started


def _measured(row: Row, seconds: float, data: Set, bits: Bits) -> Row:
    found = mean(np.asarray(bits(data.test_images, data.test_labels)), data.test_patients)
    ends = {"bits": found.value, "low": found.low, "high": found.high, "test_images": found.count}
    return replace(row, cpu_minutes=seconds / 60, **ends)


def _told(labels: NDArray[np.int64]) -> Condition:
    return Condition.of(categorical=labels)


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _size(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def main() -> None:
    """Train each network once; write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/data"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VEILRAY_DATA", "../shared/data")))
    parser.add_argument("--only", choices=tuple(MINUTES))
    parser.add_argument("--minutes", type=float, help="of each network; default: see above")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = arguments.out / "cadp_networks.csv"
    if not table.exists():
        table.write_text(",".join(field.name for field in fields(Row)) + "\n")
    with table.open(newline="") as file:
        known = {(row["data"], row["network"]) for row in csv.DictReader(file)}
    for name in [arguments.only] if arguments.only else MINUTES:
        asked = networks(open_set(name, arguments.data.absolute()), arguments.minutes or MINUTES[name])
        for network, make in asked.items():
            if (name, network) in known:
                continue
            row = make()
            told = [f"{v:.5g}" if isinstance(v, float) else "" if v is None else v for v in asdict(row).values()]
            with table.open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow(told)
            print(*told, flush=True)


if __name__ == "__main__":
    main()
