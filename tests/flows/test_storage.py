"""A flow on disk: bit-equal when whole, refused with a reason when not."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from veilray.flows import Glow, GlowConfig, load_card, load_flow, save_flow
from veilray.flows.storage import CARD_FILE

OPTIONS = GlowConfig(8, 1, 8, 2, 2, 8, coupling="gin", downsampling="reshape")


@pytest.fixture
def folder(trained: tuple[Glow, Path], tmp_path: Path) -> Path:
    save_flow(trained[0], tmp_path / "flow", {"data": "toy images, public"})
    return tmp_path / "flow"


def weights(folder: Path) -> Path:
    return next(folder.glob("weights-*.safetensors"))


def edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps({**card, **changes}))


def test_loaded_flow_is_bit_equal(trained: tuple[Glow, Path], folder: Path, images: np.ndarray) -> None:
    loaded = load_flow(folder)
    assert not loaded.training
    expected = trained[0].encode(images)
    assert torch.equal(loaded.encode(images).flat(), expected.flat())
    assert torch.equal(loaded.decode(expected), trained[0].decode(expected))
    assert load_card(folder)["card"] == {"data": "toy images, public"}


def test_float64_flows_stay_float64(tmp_path: Path) -> None:
    flow = Glow(GlowConfig(4, 1, 8, 1, 1, 4)).double()
    save_flow(flow, tmp_path, {})
    loaded = load_flow(tmp_path)
    assert loaded.dtype == torch.float64
    assert all(torch.equal(a, b) for a, b in zip(flow.parameters(), loaded.parameters(), strict=True))


def test_saving_again_replaces_the_flow(folder: Path) -> None:
    save_flow(Glow(GlowConfig(4, 1, 8, 1, 1, 4)), folder, {})
    assert load_flow(folder).config.size == 4
    assert len(list(folder.iterdir())) == 2


def test_the_card_is_plain_json_with_the_hash(folder: Path) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    assert card["weights_sha256"] == hashlib.sha256(weights(folder).read_bytes()).hexdigest()
    assert card["config"]["levels"] == 2


def test_a_default_flow_makes_the_bytes_it_made_before_there_were_options(folder: Path) -> None:
    described = '{"config": {"bits": 8, "channels": 1, "levels": 2, "size": 8, "steps": 3, "width": 16}, '
    described += '"dtype": "float32", "kind": "glow"}'
    tensors = {name: tensor.contiguous() for name, tensor in load_flow(folder).state_dict().items()}
    assert weights(folder).read_bytes() == save(tensors, metadata={"flow": described})


def test_options_are_saved_and_loaded(tmp_path: Path, images: np.ndarray) -> None:
    flow = Glow(OPTIONS, seed=2)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.02)
    save_flow(flow, tmp_path, {})
    loaded = load_flow(tmp_path)
    assert loaded.config == OPTIONS
    assert load_card(tmp_path)["config"]["coupling"] == "gin"
    assert torch.equal(loaded.encode(images).flat(), flow.encode(images).flat())
    assert np.array_equal(loaded.decode(loaded.encode(images)).numpy(), images)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"coupling": "affine"}, "got another config"),
        ({"downsampling": "checkerboard"}, "got another config"),
        ({"coupling": "nice"}, "coupling must be affine or gin, got 'nice'"),
        ({"downsampling": 1}, "downsampling must be checkerboard or reshape, got 1"),
        ({"mixing": "permutation"}, "must describe a Glow"),
    ],
)
def test_weights_are_refused_under_another_option(tmp_path: Path, option: dict[str, Any], message: str) -> None:
    """The options change no shape, so nothing but the description can tell."""
    save_flow(Glow(OPTIONS), tmp_path, {})
    edit(tmp_path, config={**load_card(tmp_path)["config"], **option})
    with pytest.raises(ValueError, match=message):
        load_flow(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    path = weights(folder)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="truncated or altered"):
        load_flow(folder)


def test_one_flipped_bit_is_refused(folder: Path) -> None:
    content = bytearray(weights(folder).read_bytes())
    content[-1] ^= 1
    weights(folder).write_bytes(content)
    with pytest.raises(ValueError, match="must have the SHA-256"):
        load_flow(folder)


def test_another_config_on_the_card_is_refused(folder: Path) -> None:
    config = load_card(folder)["config"]
    edit(folder, config={**config, "bits": 16})
    with pytest.raises(ValueError, match="got another config"):
        load_flow(folder)
    edit(folder, config={**config, "width": 8})
    with pytest.raises(ValueError, match=r"must be \(8, 2, 3, 3\)"):
        load_flow(folder)
    edit(folder, config={**config, "steps": 4})
    with pytest.raises(ValueError, match="missing or foreign"):
        load_flow(folder)
    edit(folder, config={"shape": 3})
    with pytest.raises(ValueError, match="must describe a Glow"):
        load_flow(folder)


def test_foreign_weights_are_refused_even_with_their_hash(folder: Path) -> None:
    foreign = folder / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    digest = hashlib.sha256(foreign.read_bytes()).hexdigest()
    edit(folder, weights=foreign.name, weights_sha256=digest)
    with pytest.raises(ValueError, match="missing or foreign"):
        load_flow(folder)
    foreign.write_bytes(b"not safetensors")
    edit(folder, weights_sha256=hashlib.sha256(b"not safetensors").hexdigest())
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load_flow(folder)


def test_weights_outside_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(weights(folder), tmp_path / "outside.safetensors")
    edit(folder, weights="../outside.safetensors")
    with pytest.raises(ValueError, match=r"beside flow\.json"):
        load_flow(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00\xff", '{"format": "other"}', "[" * 100_000])
def test_a_foreign_card_is_refused(folder: Path, content: str) -> None:
    (folder / CARD_FILE).write_text(content)
    with pytest.raises(ValueError, match="the model card must be"):
        load_flow(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the model card must be in .*flow.json, got no such file"):
        load_flow(tmp_path / "nowhere")
    weights(folder).unlink()
    with pytest.raises(ValueError, match=r"the weights must be in .*, got no such file"):
        load_flow(folder)


def test_a_newer_version_is_refused_with_the_cure(folder: Path) -> None:
    edit(folder, version=2)
    with pytest.raises(ValueError, match="load it with the release"):
        load_flow(folder)
    edit(folder, version=1, weights_sha256=None)
    with pytest.raises(ValueError, match="weights_sha256 must be a str, got None"):
        load_flow(folder)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    flow = Glow(GlowConfig(4, 1, 8, 1, 1, 4))
    with torch.no_grad():
        next(flow.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="weights must be finite"):
        save_flow(flow, tmp_path, {})
    with pytest.raises(ValueError, match="card must hold JSON values only"):
        save_flow(Glow(GlowConfig(4, 1, 8, 1, 1, 4)), tmp_path, {"when": {1, 2}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "sizes", [{"width": 10**5}, {"steps": 10**9}, {"levels": 10**12}, {"size": 2**20}, {"channels": 3}], ids=str
)
def test_a_flow_larger_than_its_file_is_refused_before_it_is_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sizes: dict[str, int]
) -> None:
    """Built first, it would take terabytes of memory, or years."""
    edit(folder, config={**load_card(folder)["config"], **sizes})
    monkeypatch.setattr(Glow, "load_state_dict", lambda *_: pytest.fail("it was built"))
    with pytest.raises(ValueError, match="must"):
        load_flow(folder)
