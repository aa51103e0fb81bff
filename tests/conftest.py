"""What several rooms' tests need: a tiny real DP-GLOW, untrained, and tiny fits of other methods."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_digits

from veilray.api import fit
from veilray.flows import Glow, GlowConfig, load_card, save_flow
from veilray.images import RULE
from veilray.methods import DirectionalRelease, DPGlow, SelectionRelease, load_method
from veilray.methods.domain import Domain
from veilray.methods.tables import CADPTable
from veilray.privacy import ModelTraining
from veilray.releases import ModelCard
from veilray.tables import Column, Records, Schema

# The same examples in every run of CI: a build fails for what changed, not for the draw. At a desk they vary.
settings.register_profile("steady", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def _own_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fits leave beside the ledger must not land in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEILRAY_LEDGER", str(tmp_path_factory.mktemp("custodian") / "ledger.sqlite"))
        yield


@pytest.fixture(scope="session")
def method(tmp_path_factory: pytest.TempPathFactory) -> DPGlow:
    flow = Glow(GlowConfig(size=8, levels=2, steps=2, width=8))
    folder = tmp_path_factory.mktemp("weights")
    save_flow(flow, folder, {})
    card = ModelCard(
        name="tiny",
        method="dp-glow",
        geometry={"size": 8, "channels": 1, "bits": 8},
        geometry_rule=RULE,
        training=ModelTraining(data="public", statement="random numbers"),
        training_images=0,
        training_patients=None,
        levels_of={"label": ("NORMAL", "PNEUMONIA")},
        weights_sha256=load_card(folder)["weights_sha256"],
    )
    return DPGlow(flow, card, Domain.of(np.arange(10.0)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("VEILRAY_DATA", "../shared/data"))
    if not (folder / "kermany_cxr").is_dir():
        pytest.skip(f"no real images: {folder}/kermany_cxr is absent; set VEILRAY_DATA to its folder")
    return folder


TINY: dict[str, Any] = {
    "size": 8, "levels": 2, "steps": 2, "width": 8, "epochs": 2, "training_data": "public", "statement": "digits",
}  # fmt: skip
"""A model of 8 x 8 pictures that is fitted in half a second."""


@pytest.fixture(scope="session")
def tiny_options() -> dict[str, Any]:
    return dict(TINY)


@pytest.fixture(scope="session")
def public_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 handwritten digits, each of its own patient, with the digit's parity as label."""
    values, digits = load_digits(return_X_y=True)
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(
        path,
        images=(values[:240].reshape(-1, 8, 8) * 15).astype(np.uint8),
        label=np.where(digits[:240] % 2, "odd", "even"),
        patient=np.array([f"p{number}" for number in range(240)]),
    )
    return path


@pytest.fixture(scope="session")
def tiny_fit(tmp_path_factory: pytest.TempPathFactory, public_digits: Path) -> Callable[..., Path]:
    """Fit a tiny model of a method, once for each set of options; returns its MODEL folder."""
    made: dict[str, Path] = {}

    def folder_of(method: str, **options: Any) -> Path:
        key = repr((method, sorted(options.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp("fits") / method
            before = torch.get_num_threads()
            torch.set_num_threads(1)  # small nets run fastest on one thread
            fit(method, public_digits, folder, **{**TINY, **options})
            torch.set_num_threads(before)
            made[key] = folder
        return made[key]

    return folder_of


@pytest.fixture(scope="session")
def directional_model(tiny_fit: Callable[..., Path]) -> Path:
    return tiny_fit("directional", content="pixels", keep=4)


@pytest.fixture(scope="session")
def directional(directional_model: Path) -> DirectionalRelease:
    method = load_method(directional_model)
    assert isinstance(method, DirectionalRelease)
    return method


@pytest.fixture(scope="session")
def selection_model(tiny_fit: Callable[..., Path]) -> Path:
    return tiny_fit("selection", content="pixels", keep=4)


@pytest.fixture(scope="session")
def selection(selection_model: Path) -> SelectionRelease:
    method = load_method(selection_model)
    assert isinstance(method, SelectionRelease)
    return method


@pytest.fixture(scope="session")
def private_digits() -> np.ndarray:
    """Ninety-six other digits, `(96, 1, 8, 8)`."""
    values = load_digits().data[1000:1096]
    return (values.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)


PEOPLE = Schema(
    confirmed=True,
    patient="person",
    columns=(
        Column(name="diagnosis", kind="categorical", levels=("benign", "malignant")),
        Column(name="age", kind="integer", low=0, high=120),
        Column(name="diameter", kind="continuous", low=0, high=50, decimals=1, unit="mm", missing=True),
        Column(name="grade", kind="ordinal", levels=("low", "middle", "high")),
        Column(name="visits", kind="integer", low=0, high=30),
        Column(name="seen", kind="date", low="2000-01-01", high="2020-12-31"),
        Column(name="ward", kind="categorical", levels=("north", "south", "east"), missing=True),
    ),
)
"""A small table with every kind of column."""


@pytest.fixture(scope="session")
def people() -> Callable[..., Records]:
    """Make valid rows of `PEOPLE`; every second row is of the patient of the row before."""

    def make(count: int, seed: int = 0) -> Records:
        rng = np.random.default_rng(seed)
        ill = rng.random(count) < 0.4
        age = np.clip(55 + 12 * ill + 14 * rng.normal(size=count), 0, 120)
        size = np.where(rng.random(count) < 0.1, np.nan, np.clip(12 + 9 * ill + 4 * rng.normal(size=count), 0, 50))
        grade = np.clip(np.round(0.5 + ill + 0.6 * rng.normal(size=count)), 0, 2)
        visits = np.minimum(rng.poisson(3 + 4 * ill), 30)
        seen = rng.integers(730_120, 737_790, count)
        ward = np.where(rng.random(count) < 0.1, np.nan, rng.integers(0, 3, count))
        records = Records.of(PEOPLE, np.stack([ill, age, size, grade, visits, seen, ward], axis=1)).snapped()
        persons = tuple(f"person-{seed}-{row // 2}" for row in range(count))
        return Records(PEOPLE, records.values, records.rows, persons)

    return make


@pytest.fixture(scope="session")
def table_file(tmp_path_factory: pytest.TempPathFactory, people: Callable[..., Records]) -> Callable[..., Path]:
    """Write rows of `PEOPLE` as a CSV file with their patients."""

    def write(count: int, seed: int = 0) -> Path:
        records = people(count, seed)
        path = tmp_path_factory.mktemp("table") / "people.csv"
        frame = records.to_pandas()
        frame["seen"] = frame["seen"].dt.strftime("%Y-%m-%d")
        frame["person"] = records.patients
        frame.to_csv(path, index=False)
        return path

    return write


@pytest.fixture(scope="session")
def table_model(tmp_path_factory: pytest.TempPathFactory, people: Callable[..., Records]) -> Path:
    """A tiny model of `PEOPLE` that is told the diagnosis and the age."""
    folder = tmp_path_factory.mktemp("tables") / "model"
    options = {"couplings": 2, "width": 16, "epochs": 6, "batch_size": 32}
    stated = {"training_data": "public", "statement": "made up people"}
    CADPTable.fit(people(300, 7), folder, condition="diagnosis,age", **options, **stated)
    return folder


@pytest.fixture(scope="session")
def loaded_table(table_model: Path) -> CADPTable:
    return CADPTable.load(table_model)
