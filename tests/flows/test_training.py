"""Training: the likelihood rises, a stop of any kind is resumed bit for bit, mistakes are named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from veilray.flows import FlowTraining, Glow, GlowConfig, Progress, train
from veilray.flows.training import LOG_FILE

TOY = GlowConfig(size=8, channels=1, bits=8, levels=2, steps=3, width=16)
QUICK = FlowTraining(epochs=3, batch_size=32, learning_rate=2e-3, warmup_epochs=0.5, ema_decay=0.9, seed=3)


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def without_time(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def same_weights(one: Glow, other: Glow) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


class Interrupted(Exception):
    """Stands for the user's Ctrl-C."""


def test_bits_per_dimension_fall(trained: tuple[Glow, Path]) -> None:
    lines = log(trained[1])
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert set(lines[0]) == {"epoch", "train_bits", "validation_bits", "learning_rate", "seconds"}
    assert lines[-1]["validation_bits"] < lines[0]["validation_bits"] - 0.5
    assert lines[-1]["train_bits"] < lines[0]["train_bits"] - 0.5


def test_bits_per_dimension_of_digits_fall_with_gin_and_reshape(tmp_path: Path) -> None:
    digits = load_digits().images[:, None].astype(np.uint8)  # grey levels 0 to 16
    flow = Glow(GlowConfig(8, 1, 5, 2, 3, 16, coupling="gin", downsampling="reshape"), seed=1)
    before = float(flow.bits_per_dimension(digits[1024:1280]).mean())
    train(flow, digits[:1024], digits[1024:1280], replace(QUICK, epochs=4), tmp_path)
    lines = [line["validation_bits"] for line in log(tmp_path)]
    assert lines == sorted(lines, reverse=True)
    assert float(flow.bits_per_dimension(digits[1024:1280]).mean()) < before - 1
    assert np.array_equal(flow.decode(flow.encode(digits[:64])).numpy(), digits[:64])


def test_the_result_is_the_average_that_was_validated(trained: tuple[Glow, Path], validation: np.ndarray) -> None:
    best = min(line["validation_bits"] for line in log(trained[1]))
    assert float(trained[0].bits_per_dimension(validation).double().mean()) == pytest.approx(best, abs=1e-9)


def test_the_same_seed_gives_the_same_flow(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    flows = [Glow(TOY, seed=1) for _ in range(3)]
    configs = [QUICK, QUICK, replace(QUICK, seed=4)]
    for index, (flow, config) in enumerate(zip(flows, configs, strict=True)):
        train(flow, images, validation, replace(config, epochs=1), tmp_path / str(index))
    assert same_weights(flows[0], flows[1])
    assert not same_weights(flows[0], flows[2])


@pytest.mark.parametrize("stop", [(1, 8), (2, 3)], ids=["after an epoch", "within an epoch"])
def test_an_interrupted_run_resumes_bit_for_bit(
    tmp_path: Path, images: np.ndarray, validation: np.ndarray, stop: tuple[int, int]
) -> None:
    whole, broken = Glow(TOY, seed=1), Glow(TOY, seed=1)
    expected = train(whole, images, validation, QUICK, tmp_path / "whole")

    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.batch) == stop and (progress.validation_bits is not None or stop[0] == 2):
            raise Interrupted

    with pytest.raises(Interrupted):
        train(broken, images, validation, QUICK, tmp_path / "broken", on_progress=interrupt)
    resumed = Glow(TOY, seed=99)
    result = train(resumed, images, validation, QUICK, tmp_path / "broken", resume=True)
    assert same_weights(resumed, whole)
    assert replace(result, seconds=0) == replace(expected, seconds=0)
    assert without_time(log(tmp_path / "broken")) == without_time(log(tmp_path / "whole"))


SCRIPT = """
import sys, numpy as np, torch
torch.set_num_threads(1)
from veilray.flows import Glow, GlowConfig, FlowTraining, train
images = np.load(sys.argv[1], mmap_mode="r")
config = FlowTraining(epochs=3, batch_size=32, learning_rate=2e-3, warmup_epochs=0.5, ema_decay=0.9, seed=3,
                        checkpoint_minutes=1e-9)
def tell(progress):
    print(progress.epoch, progress.batch, flush=True)
train(Glow(GlowConfig(8, 1, 8, 2, 3, 16), seed=1), images, images[:64], config, sys.argv[2], on_progress=tell)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX")
def test_a_killed_process_resumes_bit_for_bit(tmp_path: Path, images: np.ndarray) -> None:
    """A checkpoint after every step, and the kill at any moment, the writing of one included."""
    np.save(tmp_path / "images.npy", images)
    whole = Glow(TOY, seed=1)
    train(whole, images, images[:64], QUICK, tmp_path / "whole")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "images.npy"), str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("2 3"):
            time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    resumed = Glow(TOY, seed=1)
    train(resumed, images, images[:64], QUICK, tmp_path / "killed", resume=True)
    assert same_weights(resumed, whole)


def test_time_limit_stops_with_a_checkpoint_that_resumes(
    tmp_path: Path, images: np.ndarray, validation: np.ndarray
) -> None:
    whole, limited = Glow(TOY, seed=1), Glow(TOY, seed=1)
    train(whole, images, validation, QUICK, tmp_path / "whole")
    first = train(limited, images, validation, replace(QUICK, max_minutes=1e-9), tmp_path / "limited")
    assert first.stopped == "time"
    assert first.epochs == 0
    assert np.isfinite(first.validation_bits)
    resumed = Glow(TOY, seed=1)
    second = train(resumed, images, validation, QUICK, tmp_path / "limited", resume=True)
    assert second.stopped == "epochs"
    assert same_weights(resumed, whole)


def test_more_epochs_continue_a_finished_run(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    whole, longer = Glow(TOY, seed=1), Glow(TOY, seed=1)
    train(whole, images, validation, QUICK, tmp_path / "whole")
    train(longer, images, validation, replace(QUICK, epochs=1), tmp_path / "longer")
    train(longer, images, validation, QUICK, tmp_path / "longer", resume=True)
    assert same_weights(longer, whole)


def test_stops_when_validation_no_longer_improves(tmp_path: Path, images: np.ndarray) -> None:
    """Validation images of another kind get worse with training, so the first epochs stay the best."""
    other = np.random.default_rng(0).integers(0, 256, (32, 1, 8, 8), dtype=np.uint8)
    flow = Glow(TOY, seed=1)
    result = train(flow, images, other, replace(QUICK, epochs=30, patience=2), tmp_path)
    assert result.stopped == "patience"
    assert result.epochs == result.best_epoch + 2 < 30
    assert result.validation_bits == min(line["validation_bits"] for line in log(tmp_path))


def test_the_average_begins_where_the_first_batch_set_the_weights(tmp_path: Path, images: np.ndarray) -> None:
    """A rate of nearly nothing moves no weight, so the average of any decay is what the first batch set."""
    flows = [Glow(TOY, seed=1) for _ in range(2)]
    for flow, decay in zip(flows, (0.0, 0.999), strict=True):
        still = replace(QUICK, epochs=1, learning_rate=1e-12, ema_decay=decay)
        train(flow, images, images[:8], still, tmp_path / str(decay))
    for own, averaged in zip(*(flow.parameters() for flow in flows), strict=True):
        assert torch.allclose(own, averaged, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_with_advice(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Glow(TOY, seed=1)
    monkeypatch.setattr(Glow, "loss", lambda _, x: x.flatten(1).sum(1) * float("nan"))
    with pytest.raises(ValueError, match=r"loss must be finite, got nan .* use --learning-rate"):
        train(flow, images, images[:8], QUICK, tmp_path)


def test_actnorm_is_set_by_the_first_batch_only(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    flow = Glow(TOY, seed=1)
    assert not any(bool(value) for name, value in flow.state_dict().items() if "initialised" in name)
    train(flow, images, validation, replace(QUICK, epochs=1, learning_rate=1e-12), tmp_path / "first")
    flags = [value for name, value in flow.state_dict().items() if "initialised" in name]
    assert flags
    assert all(bool(flag) for flag in flags)
    before = [parameter.clone() for parameter in flow.parameters()]
    train(flow, 255 - images, validation, replace(QUICK, epochs=1, learning_rate=1e-12), tmp_path / "second")
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(before, flow.parameters(), strict=True))


def test_progress_tells_pace_and_time_left(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    seen: list[Progress] = []
    train(Glow(TOY), images, validation, replace(QUICK, epochs=2), tmp_path, on_progress=seen.append)
    assert len(seen) == 2 * (8 + 1)
    assert seen[0].learning_rate < seen[3].learning_rate == QUICK.learning_rate
    assert seen[0].seconds_left > 0
    assert seen[-1].seconds_left == 0
    assert seen[-1].validation_bits is not None
    assert all(progress.images_per_second > 0 for progress in seen)


def test_memory_maps_train_as_arrays_do(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    np.save(tmp_path / "images.npy", images)
    flows = [Glow(TOY, seed=1), Glow(TOY, seed=1)]
    train(flows[0], images, validation, replace(QUICK, epochs=1), tmp_path / "array")
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    train(flows[1], mapped, validation, replace(QUICK, epochs=1), tmp_path / "map")
    assert same_weights(*flows)


def test_sixteen_bits_train(tmp_path: Path, images: np.ndarray) -> None:
    deep = images.astype(np.uint16) * 257
    flow = Glow(replace(TOY, bits=16))
    result = train(flow, deep, deep[:32], replace(QUICK, epochs=1), tmp_path)
    assert np.isfinite(result.validation_bits)
    assert np.array_equal(flow.decode(flow.encode(deep)).numpy(), deep)


def test_a_folder_in_use_is_refused_without_resume(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    train(Glow(TOY), images, validation, replace(QUICK, epochs=1), tmp_path)
    with pytest.raises(ValueError, match="use --resume or another"):
        train(Glow(TOY), images, validation, QUICK, tmp_path)
    with pytest.raises(ValueError, match="training must be as in the checkpoint"):
        train(Glow(TOY), images, validation, replace(QUICK, seed=8), tmp_path, resume=True)
    with pytest.raises(ValueError, match="flow must be as in the checkpoint"):
        train(Glow(replace(TOY, width=8)), images, validation, QUICK, tmp_path, resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, images: np.ndarray, validation: np.ndarray) -> None:
    train(Glow(TOY), images, validation, replace(QUICK, epochs=1), tmp_path)
    victim = next((tmp_path / "checkpoint").glob("optimiser-*"))
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(ValueError, match="truncated or altered"):
        train(Glow(TOY), images, validation, QUICK, tmp_path, resume=True)
    victim.unlink()
    with pytest.raises(ValueError, match="got no such file"):
        train(Glow(TOY), images, validation, QUICK, tmp_path, resume=True)


def test_nothing_is_pickled(trained: tuple[Glow, Path]) -> None:
    suffixes = {path.suffix for path in trained[1].rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".jsonl"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup_epochs", -1),
        ("ema_decay", 1.0),
        ("clip_norm", -1.0),
        ("patience", 0),
        ("seed", -1),
        ("max_minutes", 0),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        FlowTraining(**{**asdict(QUICK), field: value})


def test_too_few_images_are_named(tmp_path: Path, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="batch_size must be at most the 8 images, got 32"):
        train(Glow(TOY), images[:8], images[:8], QUICK, tmp_path)
    with pytest.raises(ValueError, match="validation must be one image or more, got none"):
        train(Glow(TOY), images, images[:0], QUICK, tmp_path)
