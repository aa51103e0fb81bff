"""Checkpoints of a training run: tensors as safetensors, counters as JSON, replaced as one.

`state.json` names the tensor files it belongs to. These are written first and under new names, so a process
killed at any moment leaves a state that a resumed run continues bit for bit.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from veilray.flows.durable import read_json, write_bytes, write_json

__all__ = ["STATE_FILE", "Checkpoint"]

STATE_FILE = "state.json"


class Checkpoint:
    """The checkpoint in a folder, made if needed.

    Each `group` of tensors (weights, averages, optimiser, best) is one file, rewritten only when it changes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def exists(self) -> bool:
        """Whether there is a state to resume."""
        return (self.folder / STATE_FILE).exists()

    def save(self, state: dict[str, Any], groups: dict[str, dict[str, Tensor]]) -> None:
        """Write the state and its groups of tensors; the files of the state before are then removed."""
        files: dict[str, dict[str, str]] = {}
        for group, tensors in groups.items():
            content = save_tensors({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
            digest = hashlib.sha256(content).hexdigest()
            name = f"{group}-{digest[:16]}.safetensors"
            if not (self.folder / name).exists():
                write_bytes(self.folder / name, content)
            files[group] = {"file": name, "sha256": digest}
        write_json(self.folder / STATE_FILE, {**state, "files": files})
        current = {entry["file"] for entry in files.values()}
        for old in self.folder.glob("*.safetensors"):
            if old.name not in current:
                old.unlink()

    def load(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Return the state and its groups of tensors.

        Raises:
            ValueError: when a file is missing, truncated or altered.
        """
        state = read_json(self.folder / STATE_FILE, "the checkpoint")
        groups: dict[str, dict[str, Tensor]] = {}
        for group, entry in state.pop("files").items():
            path = self.folder / Path(entry["file"]).name
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                raise ValueError(f"the checkpoint must hold {path.name}, got no such file") from None
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise ValueError(
                    f"{path} must have the SHA-256 {entry['sha256']}, got another: the file was truncated or "
                    "altered; start again in an empty folder"
                )
            try:
                groups[group] = dict(load_tensors(content))
            except safetensors.SafetensorError as error:
                raise ValueError(f"{path} must be a safetensors file, got {error}") from None
        return state, groups
