"""An artefact on disk: equal bytes for equal tensors, whole or refused, never larger than its file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from veilray.networks.artefact import Artefact, digest_of, metadata_of, packed, rebuilt, unpacked

KIND = Artefact("thing.json", format="veilray-thing", what="the thing", stem="thing")
HERE = Path("here")


def tensors() -> dict[str, Tensor]:
    return {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}


def loaded(folder: Path) -> dict[str, Tensor]:
    return unpacked(KIND.content(folder, KIND.fields(folder)), folder)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / KIND.file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def foreign(folder: Path, content: bytes) -> None:
    """Put another file in place, with a hash that fits."""
    KIND.path(folder, KIND.fields(folder)).write_bytes(content)
    edit(folder, weights_sha256=digest_of(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KIND.save(tmp_path, tensors(), {"size": 3}, card={"data": "toy"})
    return tmp_path


def test_what_is_loaded_is_what_was_saved(folder: Path) -> None:
    found = loaded(folder)
    assert found.keys() == tensors().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors().items())
    assert KIND.fields(folder)["size"] == 3
    assert KIND.fields(folder)["card"] == {"data": "toy"}


def test_the_hash_of_the_json_stands_for_the_whole(folder: Path) -> None:
    digest = KIND.sha256(folder)
    assert digest == digest_of((folder / KIND.file).read_bytes())
    assert KIND.save(folder, {**tensors(), "count": torch.tensor(4)}, {"size": 3}, card={"data": "toy"}) != digest


def test_saving_again_replaces_the_tensors(folder: Path) -> None:
    KIND.save(folder, {"other": torch.ones(1)}, {})
    assert len(list(folder.iterdir())) == 2
    assert list(loaded(folder)) == ["other"]


@pytest.mark.parametrize("part", ["json", "tensors"])
def test_a_crash_leaves_the_old_artefact(folder: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def crash(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("veilray.networks.artefact." + ("write_json" if part == "json" else "write_bytes"), crash)
    with pytest.raises(OSError, match="full"):
        KIND.save(folder, {"other": torch.ones(1)}, {})
    assert loaded(folder).keys() == tensors().keys()


@pytest.mark.parametrize("card", [{"when": {1, 2}}, {"loss": float("nan")}], ids=str)
def test_a_card_that_is_no_json_is_not_saved(tmp_path: Path, card: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="card must hold JSON values only"):
        KIND.save(tmp_path / "new", tensors(), {}, card=card)
    assert not (tmp_path / "new").exists()


def test_values_that_are_not_finite_are_neither_saved_nor_loaded(folder: Path, tmp_path: Path) -> None:
    bad = {"weight": torch.tensor([1.0, float("inf")])}
    with pytest.raises(ValueError, match="weights must be finite, got weight"):
        KIND.save(tmp_path, bad, {})
    foreign(folder, save_tensors(bad))
    with pytest.raises(ValueError, match="weights must be finite, got weight"):
        loaded(folder)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_tensors_or_refused(content: bytes) -> None:
    try:
        unpacked(content, HERE)
    except ValueError as error:
        assert "must be" in str(error)


@pytest.mark.parametrize(("dtype", "size"), [("F4", [2]), ("F8_E8M0", [1]), ("U16", [1]), ("C64", [1]), ("I8", [1])])
def test_numbers_of_another_type_are_refused(dtype: str, size: list[int]) -> None:
    """The library knows types that torch does not, and says so with a KeyError."""
    count = {"U16": 2, "C64": 8}.get(dtype, 1)
    header = json.dumps({"a": {"dtype": dtype, "shape": size, "data_offsets": [0, count]}}).encode()
    with pytest.raises(ValueError, match="must be"):
        unpacked(len(header).to_bytes(8, "little") + header + bytes(count), HERE)


@pytest.mark.parametrize("name", ["../thing.safetensors", "/etc/passwd", "thing.json", "a/b.safetensors"])
def test_tensors_elsewhere_are_refused(folder: Path, name: str) -> None:
    edit(folder, weights=name)
    with pytest.raises(ValueError, match=r"must be a \.safetensors file beside thing\.json"):
        loaded(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "veilray-flow"}, "must be of format 'veilray-thing'"),
        ({"version": 2}, "must be of version 1, got '2'"),
        ({"weights": 3}, "weights must be a str, got 3"),
        ({"weights_sha256": None}, "weights_sha256 must be a str, got None"),
        ({"weights_sha256": "0" * 64}, "truncated or altered"),
        ({"weights": "gone.safetensors"}, "got no such file"),
    ],
)
def test_a_changed_json_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        loaded(folder)


@pytest.mark.parametrize("part", ["json", "tensors"])
def test_a_file_too_large_to_be_one_is_not_read(folder: Path, part: str) -> None:
    path = folder / KIND.file if part == "json" else KIND.path(folder, KIND.fields(folder))
    os.truncate(path, 3 * 2**30)  # sparse: it takes no room
    with pytest.raises(ValueError, match="must be at most"):
        loaded(folder)


def test_metadata_is_under_the_hash() -> None:
    content = packed(tensors(), {"what": "toy"})
    assert metadata_of(content) == {"what": "toy"}
    assert digest_of(content) != digest_of(packed(tensors(), {"what": "tox"}))


def test_a_network_is_rebuilt_bit_for_bit_and_draws_nothing() -> None:
    network = nn.Linear(3, 2)
    before = torch.get_rng_state()
    again = rebuilt(lambda: nn.Linear(3, 2), {f"net.{name}": t for name, t in network.state_dict().items()}, "net.")
    assert torch.equal(again.weight, network.weight)
    assert torch.equal(torch.get_rng_state(), before)
    assert not again.training


@pytest.mark.parametrize("size", [10**6, 2**62])
def test_a_network_larger_than_its_file_is_refused_before_it_is_built(size: int) -> None:
    """Built first, the smaller one would take 4 terabytes."""
    with pytest.raises(ValueError, match="must be"):
        rebuilt(lambda: nn.Linear(size, 10**6), nn.Linear(3, 2).state_dict())


@pytest.mark.parametrize("change", ["missing", "foreign", "shape", "type"])
def test_other_tensors_are_refused(change: str) -> None:
    state = dict(nn.Linear(3, 2).state_dict())
    if change == "missing":
        state.pop("bias")
    else:
        state |= {
            "foreign": {"other": torch.ones(1)},
            "shape": {"bias": torch.ones(3)},
            "type": {"bias": torch.ones(2).double()},
        }[change]
    with pytest.raises(ValueError, match="must be"):
        rebuilt(lambda: nn.Linear(3, 2), state)
