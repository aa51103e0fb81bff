"""A kept code on disk: whatever is not what `save_code` wrote is refused with a ValueError."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from veilray.codes import CODE_FILE, KeptCode, load_code, save_code


def told(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / CODE_FILE).read_text())
    return content


def tell(folder: Path, **changes: object) -> None:
    (folder / CODE_FILE).write_text(json.dumps({**told(folder), **changes}))


def replace_weights(folder: Path, content: bytes) -> None:
    """Put other weights in place, with a hash that fits."""
    (folder / told(folder)["weights"]).write_bytes(content)
    tell(folder, weights_sha256=hashlib.sha256(content).hexdigest())


def alter(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_tensors((folder / told(folder)["weights"]).read_bytes())
    change(tensors)
    replace_weights(folder, save_tensors(tensors))


@pytest.fixture
def folder(code: KeptCode, tmp_path: Path) -> Path:
    save_code(code, tmp_path)
    return tmp_path


def test_the_returned_hash_is_that_of_the_file(code: KeptCode, tmp_path: Path) -> None:
    assert save_code(code, tmp_path) == hashlib.sha256((tmp_path / CODE_FILE).read_bytes()).hexdigest()


@pytest.mark.parametrize("at", [8, 200, -1])
def test_an_altered_byte_is_refused(folder: Path, at: int) -> None:
    weights = folder / told(folder)["weights"]
    content = bytearray(weights.read_bytes())
    content[at] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="SHA-256"):
        load_code(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / told(folder)["weights"]
    content = weights.read_bytes()
    weights.write_bytes(content[:-10])
    with pytest.raises(ValueError, match="SHA-256"):
        load_code(folder)
    replace_weights(folder, content[:-10])
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load_code(folder)


def test_a_truncated_description_is_refused(folder: Path) -> None:
    path = folder / CODE_FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="must be JSON"):
        load_code(folder)


def test_missing_files_are_refused(folder: Path) -> None:
    (folder / told(folder)["weights"]).unlink()
    with pytest.raises(ValueError, match="weights must be in"):
        load_code(folder)
    (folder / CODE_FILE).unlink()
    with pytest.raises(ValueError, match="no such file"):
        load_code(folder)


def test_weights_outside_the_folder_are_refused(folder: Path) -> None:
    name = told(folder)["weights"]
    (folder / name).rename(folder.parent / name)
    tell(folder, weights=f"../{name}")
    with pytest.raises(ValueError, match=r"must be a \.safetensors file beside code\.json"):
        load_code(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    alter(folder, lambda tensors: tensors["mean"].fill_(value))
    with pytest.raises(ValueError, match="must be finite"):
        load_code(folder)


@pytest.mark.parametrize(
    ("changes", "message"), [({"format": "veilray-flow"}, "got another file"), ({"version": 2}, "must be of version 1")]
)
def test_a_foreign_description_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    tell(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_code(folder)


def test_foreign_weights_are_refused(folder: Path) -> None:
    replace_weights(folder, b"\x80\x04not a safetensors file")
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load_code(folder)


def test_an_unknown_kind_is_refused(folder: Path) -> None:
    tell(folder, kind="eigenfaces")
    with pytest.raises(ValueError, match=r"kept code must be one of .*, got 'eigenfaces'"):
        load_code(folder)


def test_another_dimension_is_refused(folder: Path) -> None:
    tell(folder, dimension=3)
    with pytest.raises(ValueError, match="must tell the dimension 4, got 3"):
        load_code(folder)


@pytest.mark.parametrize("config", [{}, [], "pixels", {"flow": {"size": "8"}, "content": "pixels"}])
def test_another_config_is_refused(folder: Path, config: object) -> None:
    tell(folder, config=config)
    with pytest.raises(ValueError, match="must"):
        load_code(folder)


def test_a_missing_tensor_is_refused(folder: Path) -> None:
    alter(folder, lambda tensors: tensors.pop("reference.means"))
    with pytest.raises(ValueError, match=r"must describe a kept code and its tensors, got: 'reference\.means'"):
        load_code(folder)


def test_no_tensor_can_be_left_out(code: KeptCode) -> None:
    for name in code.tensors():
        if not name.endswith("num_batches_tracked"):  # of batch normalisation: torch fills it in, nothing reads it
            fewer = {key: tensor for key, tensor in code.tensors().items() if key != name}
            with pytest.raises((KeyError, ValueError), match=name.split(".", 1)[-1]):
                code.restored(code.config(), fewer)


def test_no_tensor_can_be_of_another_shape(code: KeptCode) -> None:
    for name, tensor in code.tensors().items():
        with pytest.raises(ValueError, match="must"):
            code.restored(code.config(), {**code.tensors(), name: tensor.new_zeros(1, 2, 3, 5)})


@pytest.mark.parametrize(
    ("code", "name", "size"),
    [
        *(
            (kind, name, size)
            for kind in ("vae", "invariant")
            for name, size in (("width", 10**5), ("features", 10**12))
        ),
        *((kind, name, size) for kind in ("gram", "levels") for name, size in (("width", 10**5), ("steps", 10**9))),
    ],
    indirect=["code"],
)
def test_a_network_larger_than_its_file_is_refused_before_it_is_built(folder: Path, name: str, size: int) -> None:
    """Built first, it would take terabytes of memory, or years."""
    config = told(folder)["config"]
    part = config.get("sizes") or config["flow"]
    assert name in part
    part[name] = size
    tell(folder, config=config)
    with pytest.raises(ValueError, match="must"):
        load_code(folder)


@pytest.mark.parametrize("name", ["code.json", "weights"])
def test_a_file_too_large_to_be_one_is_not_read(folder: Path, name: str) -> None:
    path = folder / (told(folder)["weights"] if name == "weights" else name)
    os.truncate(path, 3 * 2**30)  # sparse: it takes no room
    with pytest.raises(ValueError, match="must be at most"):
        load_code(folder)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_numbers_of_another_type_are_refused(folder: Path, dtype: torch.dtype) -> None:
    alter(folder, lambda tensors: tensors.update(mean=tensors["mean"].to(dtype)))
    with pytest.raises(ValueError, match="mean must be float32, float64"):
        load_code(folder)


@pytest.mark.parametrize("bits", ["8", 10**9, 0])
def test_bits_that_are_none_are_refused(folder: Path, bits: object) -> None:
    config = told(folder)["config"]
    config.get("flow", config)["bits"] = bits
    tell(folder, config=config)
    with pytest.raises(ValueError, match="bits"):
        load_code(folder)


def test_a_law_without_components_is_refused(code: KeptCode) -> None:
    none = {name: tensor[:0] for name, tensor in code.tensors().items() if name.startswith("reference.")}
    with pytest.raises(ValueError, match="must be one law or more"):
        code.restored(code.config(), {**code.tensors(), **none})
