"""What fitting begins with: a new folder, no pixels left behind, patients held out whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veilray.images import Collection, Geometry
from veilray.methods.fitting import (
    ema_decay,
    fitted_to,
    public_images,
    public_levels,
    training_schedule,
)

GEOMETRY = Geometry(8, 1, 8)


@pytest.fixture
def collection(public_digits: Path) -> Collection:
    collection = Collection.open(public_digits)
    collection.scan()
    return collection


def pixels_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if "pixels" in path.name or path.name.startswith(".training")]


def test_a_tenth_of_the_patients_is_held_out(collection: Collection, tmp_path: Path) -> None:
    with public_images(collection, GEOMETRY, tmp_path / "m", resume=False) as images:
        assert (len(images.training), len(images.validation), images.patients) == (216, 24, 216)
        assert images.levels_of == {"label": ("even", "odd")}
        shown = {row.tobytes() for row in images.training}
        assert not shown & {row.tobytes() for row in images.validation}


def test_pixels_have_no_name_while_a_fit_runs_and_are_gone_afterwards(collection: Collection, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with public_images(collection, GEOMETRY, folder, resume=False) as images:
        assert not pixels_below(folder)  # killed here, it leaves nothing
        assert images.training[0].max() > 0
        (folder / "kept").write_text("x")
    assert [path.name for path in folder.iterdir()] == ["kept"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_fit_that_fails_early_leaves_no_folder(
    collection: Collection, tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error), public_images(collection, GEOMETRY, tmp_path / "m", resume=False):
        raise error
    assert not (tmp_path / "m").exists()


def test_an_empty_folder_of_the_users_stays(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(KeyError), public_images(collection, GEOMETRY, tmp_path / "m", resume=False):
        raise KeyError
    assert (tmp_path / "m").is_dir()


def test_a_fit_that_fails_while_reading_leaves_no_pixels(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Collection.to_memmap, []

    def failing(self: Collection, geometry: Geometry, folder: Path) -> np.ndarray:
        calls.append(folder)
        if len(calls) == 2:
            raise OSError("disk full")
        return real(self, geometry, folder)

    monkeypatch.setattr(Collection, "to_memmap", failing)
    with (
        pytest.raises(OSError, match="disk full"),
        public_images(collection, GEOMETRY, tmp_path / "m", resume=False),
    ):
        pass
    assert not (tmp_path / "m").exists()


def test_what_a_kill_while_reading_left_is_removed_by_resuming(collection: Collection, tmp_path: Path) -> None:
    left = tmp_path / "m" / ".training-abc" / "training"
    left.mkdir(parents=True)
    (left / "pixels.npy").write_bytes(b"pixels")
    with (
        pytest.raises(ValueError, match="continue it with --resume"),
        public_images(collection, GEOMETRY, tmp_path / "m", resume=False),
    ):
        pass
    with public_images(collection, GEOMETRY, tmp_path / "m", resume=True):
        assert not pixels_below(tmp_path / "m")


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["model.json", "thesis.txt"])
def test_a_folder_that_holds_something_else_is_refused(
    collection: Collection, tmp_path: Path, name: str, resume: bool
) -> None:
    (tmp_path / name).write_text("{}")
    with (
        pytest.raises(ValueError, match="MODEL must be a new folder"),
        public_images(collection, GEOMETRY, tmp_path, resume=resume),
    ):
        pass
    with (
        pytest.raises(ValueError, match="MODEL must be a new folder, got the file"),
        public_images(collection, GEOMETRY, tmp_path / name, resume=resume),
    ):
        pass
    assert (tmp_path / name).read_text() == "{}"


def test_too_few_images_or_patients_are_refused(collection: Collection, tmp_path: Path) -> None:
    one = collection.subset(lambda ref: ref.group == collection.refs[0].group)
    np.savez(tmp_path / "same.npz", images=np.zeros((12, 8, 8), np.uint8), patient=np.array(["p"] * 12))
    same = Collection.open(tmp_path / "same.npz")
    same.scan()
    for wrong, message in ((one, "at least 10 images"), (same, "at least two patients")):
        with pytest.raises(ValueError, match=message), public_images(wrong, GEOMETRY, tmp_path / "m", resume=False):
            pass
        assert not (tmp_path / "m").exists()


def test_levels_are_those_that_vary(collection: Collection) -> None:
    assert public_levels(collection) == {"label": ("even", "odd")}
    assert public_levels(collection.subset(lambda ref: ref.label == "odd")) == {}


def test_the_average_is_over_a_twentieth_of_the_steps() -> None:
    assert [round(1 / (1 - ema_decay(steps))) for steps in (0, 4000, 10**6)] == [100, 200, 1000]


def test_a_schedule_is_fitted_to_few_images() -> None:
    schedule = training_schedule(epochs=400, batch_size=32, learning_rate=1e-3, seed=0, max_minutes=None)
    fitted = fitted_to(schedule, 20)
    assert (fitted.batch_size, fitted.epochs) == (20, 400)
    assert fitted.ema_decay == ema_decay(250)
    assert fitted_to(schedule, 64_000).ema_decay == ema_decay(800_000)


@pytest.mark.parametrize("rate", [1.0001, 1e10, float("inf")])
def test_a_rate_that_moves_every_weight_by_more_than_one_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="learning_rate must be at most 1, got"):
        training_schedule(epochs=1, batch_size=1, learning_rate=rate, seed=0, max_minutes=None)
