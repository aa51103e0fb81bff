"""What was fitted, on disk: tensors as safetensors, and one JSON that names their file and its SHA-256.

Nothing in it is executed, and a file from a stranger is checked before it costs anything: sizes before reading, the
hash before parsing, names, shapes and types before a network is built. Tensors are written first under a name with
their hash, the JSON is replaced last, so that a crash leaves the old artefact or the new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from veilray.durable import read_json, write_bytes, write_json

__all__ = ["Artefact", "check_tensors", "digest_of", "metadata_of", "packed", "read_tensors", "rebuilt", "unpacked"]

_LARGEST_JSON, _LARGEST_TENSORS = 2**24, 2**31
_DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool)

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Artefact:
    """A kind of thing that is fitted and saved as one JSON and one file of tensors in a folder.

    Args:
        file: name of the JSON.
        format, version: stand in it.
        what: the JSON in messages.
        stem: the tensors' file is called `<stem>-<first 16 digits of its SHA-256>.safetensors`.
        key: of the JSON's fields `<key>` and `<key>_sha256`, which name the file and its hash.
    """

    file: str
    format: str
    what: str
    stem: str
    key: str = "weights"
    version: int = 1

    def save(
        self,
        folder: Path,
        tensors: Mapping[str, Tensor],
        fields: Mapping[str, Any],
        *,
        card: Mapping[str, Any] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> str:
        """Write the tensors, then the JSON with `fields`, into a folder that is made if needed.

        Args:
            card: what else a reader should know, as the field `card`. JSON values only.
            metadata: goes into the tensors' file, so that their hash covers it. One entry: the library writes several
                in random order, and equal tensors must give equal files.

        Returns:
            The SHA-256 of the JSON. As that names the hash of the tensors, it stands for the whole artefact.

        Raises:
            ValueError: when the card is not JSON, or a tensor is not finite; nothing is written then.
        """
        try:
            json.dumps(card, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"card must hold JSON values only, got {error}") from None
        _check_finite(tensors, "")
        content = packed(tensors, metadata)
        digest = digest_of(content)
        name = f"{self.stem}-{digest[:16]}.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, content)
        known = {"format": self.format, "version": self.version, **fields}
        named = {self.key: name, f"{self.key}_sha256": digest}
        write_json(folder / self.file, known | named | ({} if card is None else {"card": dict(card)}))
        for old in folder.glob(f"{self.stem}-*.safetensors"):
            if old.name != name:
                old.unlink()
        return self.sha256(folder)

    def sha256(self, folder: Path) -> str:
        """The SHA-256 of the JSON in the folder."""
        return digest_of((folder / self.file).read_bytes())

    def fields(self, folder: Path) -> dict[str, Any]:
        """Read and check the JSON.

        Raises:
            ValueError: when it is missing, too large, not JSON, foreign, or of another version.
        """
        path = folder / self.file
        _refuse_larger(path, _LARGEST_JSON)
        fields = read_json(path, self.what)
        if fields.get("format") != self.format:
            raise ValueError(f"{self.what} must be of format {self.format!r}, got another file in {path}")
        if fields.get("version") != self.version:
            raise ValueError(
                f"{self.what} must be of version {self.version}, got {str(fields.get('version'))[:20]!r} in {path}: "
                "load it with the release of veilray that wrote it"
            )
        for key in (self.key, f"{self.key}_sha256"):
            if not isinstance(fields.get(key), str):
                raise ValueError(f"{key} must be a str, got {str(fields.get(key))[:20]} in {path}")
        return fields

    def path(self, folder: Path, fields: Mapping[str, Any]) -> Path:
        """Where the tensors are. Raises ValueError for a place that is not beside the JSON."""
        path = folder / str(fields[self.key])
        if path.parent != folder or path.suffix != ".safetensors":
            raise ValueError(
                f"{self.key} must be a .safetensors file beside {self.file}, got {str(fields[self.key])[:80]!r}"
            )
        return path

    def content(self, folder: Path, fields: Mapping[str, Any]) -> bytes:
        """The bytes of the tensors' file that the JSON's fields name.

        Raises:
            ValueError: when it is not beside the JSON, missing, too large, truncated or altered.
        """
        return read_tensors(self.path(folder, fields), str(fields[f"{self.key}_sha256"]))


def packed(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return bytes(save_tensors(plain, metadata=metadata))


def digest_of(content: bytes) -> str:
    """The SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def read_tensors(path: Path, sha256: str, cure: str = "copy it again from its source") -> bytes:
    """Read a safetensors file whose hash is known.

    Args:
        cure: what to do about a file with another hash.

    Raises:
        ValueError: when it is missing, too large, or has another hash.
    """
    _refuse_larger(path, _LARGEST_TENSORS)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"the weights must be in {path}, got no such file") from None
    except OSError as error:
        raise ValueError(f"the weights must be in {path}, got none: {error.strerror}") from None
    digest = digest_of(content)
    if digest != sha256:
        raise ValueError(
            f"the weights must have the SHA-256 {sha256}, got {digest} in {path}: "
            f"the file was truncated or altered; {cure}"
        )
    return content


def unpacked(content: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `path` names it in messages.

    Raises:
        ValueError: for another file, tensors of another type than float32, float64, int64 or bool, or values that are
            not finite.
    """
    try:
        tensors = dict(load_tensors(content))
    except (safetensors.SafetensorError, KeyError) as error:  # the second for number types that torch does not have
        raise ValueError(f"the weights must be a safetensors file, got {path}: {error}") from None
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"{name} must be float32, float64, int64 or bool, got {tensor.dtype} in {path}")
    _check_finite(tensors, f" in {path}")
    return tensors


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file; the format is 8 bytes of length, then JSON (safetensors, 2022)."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__", {}))


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and types. Raises ValueError where they differ, or a value is not finite."""
    if strange := sorted(expected.keys() ^ tensors.keys()):
        raise ValueError(f"weights must be those that their JSON describes, got {strange[0]} missing or foreign")
    for name, like in expected.items():
        given = tensors[name]
        if given.shape != like.shape or given.dtype != like.dtype:
            raise ValueError(f"{name} must be {tuple(like.shape)} {like.dtype}, got {tuple(given.shape)} {given.dtype}")
    _check_finite(tensors, "")


def rebuilt(build: Callable[[], Network], tensors: Mapping[str, Tensor], prefix: str = "") -> Network:
    """The network of `build` with those tensors whose names begin with `prefix`, in evaluation mode.

    It is built without memory first: a file from a stranger must not make this machine build more than it holds. The
    global generator, which draws a new network's weights, is left as it was.

    Raises:
        ValueError: where names, shapes or types are not the network's.
    """
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        with torch.device("meta"):
            outline = build()
    except RuntimeError:  # for shapes beyond 64 bits
        raise ValueError("weights must be those that their JSON describes, got a description beyond any size") from None
    check_tensors(own, outline.state_dict())
    with torch.random.fork_rng(devices=[]):
        network = build()
    network.load_state_dict(own)
    return network.eval()


def _check_finite(tensors: Mapping[str, Tensor], place: str) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"weights must be finite, got {name} with values that are not{place}")


def _refuse_larger(path: Path, most: int) -> None:
    if path.is_file() and path.stat().st_size > most:
        raise ValueError(f"{path} must be at most {most:,} bytes, got {path.stat().st_size:,}")
