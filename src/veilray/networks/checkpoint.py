"""Checkpoints of a training run: tensors as safetensors, counters as JSON, replaced as one.

`state.json` names the tensor files it belongs to. These are written first and under new names, so a process
killed at any moment leaves a state that a resumed run continues bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from veilray.durable import read_json, write_bytes, write_json
from veilray.networks.artefact import digest_of, packed, read_tensors, unpacked

__all__ = ["STATE_FILE", "Checkpoint"]

STATE_FILE = "state.json"
_CURE = "start again in an empty folder"


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
            content = packed(tensors)
            digest = digest_of(content)
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
        try:
            files = {group: (Path(entry["file"]).name, entry["sha256"]) for group, entry in state.pop("files").items()}
        except (AttributeError, KeyError, TypeError):
            raise ValueError(
                f"the checkpoint must list its files, got others in {self.folder / STATE_FILE}: {_CURE}"
            ) from None
        groups: dict[str, dict[str, Tensor]] = {}
        for group, (name, digest) in files.items():
            path = self.folder / name
            groups[group] = unpacked(read_tensors(path, digest, _CURE), path)
        return state, groups
