"""A trained flow on disk: weights as safetensors, and one JSON model card. Nothing in it is executed.

The card names the weights file and its SHA-256; the weights file holds the configuration too, so that the hash
covers it. Weights are written first under a new name, the card is replaced last, so that a crash leaves the
old flow or the new one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, overload

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from veilray.flows.condition import ConditionConfig
from veilray.flows.conditional import ConditionalGlow
from veilray.flows.config import GlowConfig
from veilray.flows.durable import read_json, write_bytes, write_json
from veilray.flows.glow import Glow
from veilray.flows.tabular import TabularConfig, TabularFlow

__all__ = ["CARD_FILE", "load_card", "load_flow", "save_flow"]

CARD_FILE = "flow.json"
FORMAT = "veilray-flow"
VERSION = 1
Saved = Glow | ConditionalGlow | TabularFlow
KINDS: dict[str, type[Saved]] = {"glow": Glow, "conditional-glow": ConditionalGlow, "tabular": TabularFlow}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def save_flow(flow: Saved, folder: Path | str, card: dict[str, Any]) -> Path:
    """Write the flow and its model card to a folder, which is made if needed.

    Args:
        flow: the flow to save.
        folder: where to; a flow that is there is replaced.
        card: what a reader should know: training figures, the data statement. JSON values only.

    Returns:
        The path of the card.

    Raises:
        ValueError: when the card is not JSON, or a weight is not finite.
    """
    folder = Path(folder)
    try:
        json.dumps(card, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"card must hold JSON values only, got {error}") from None
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in flow.state_dict().items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"weights must be finite, got {name} with values that are not")
    description = _description(flow)
    # One entry only: the library writes several in random order, and equal weights must give equal files.
    content = save_tensors(tensors, metadata={"flow": _canonical(description)})
    digest = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    weights = f"weights-{digest[:16]}.safetensors"
    write_bytes(folder / weights, content)
    write_json(
        folder / CARD_FILE,
        {
            "format": FORMAT,
            "version": VERSION,
            **description,
            "weights": weights,
            "weights_sha256": digest,
            "card": card,
        },
    )
    for old in folder.glob("weights-*.safetensors"):
        if old.name != weights:
            old.unlink()
    return folder / CARD_FILE


def load_card(folder: Path | str) -> dict[str, Any]:
    """Read and check the JSON beside the weights: `config`, `dtype`, `weights_sha256`, `card`, ...

    Raises:
        ValueError: when the file is missing, not JSON, foreign, or of a newer version.
    """
    path = Path(folder) / CARD_FILE
    content = read_json(path, "the model card")
    if content.get("format") != FORMAT or content.get("kind") not in KINDS:
        raise ValueError(f"the model card must be of format {FORMAT!r} and kind {' or '.join(KINDS)}, got {path}")
    if content.get("version") != VERSION:
        raise ValueError(
            f"the model card must be of version {VERSION}, got {content.get('version')!r} in {path}: "
            "load it with the release of veilray that wrote it"
        )
    for key, kind in (("config", dict), ("dtype", str), ("weights", str), ("weights_sha256", str)):
        if not isinstance(content.get(key), kind):
            raise ValueError(f"{key} must be a {kind.__name__}, got {content.get(key)!r} in {path}")
    return content


@overload
def load_flow(folder: Path | str) -> Glow: ...
@overload
def load_flow(folder: Path | str, kind: type[Glow]) -> Glow: ...
@overload
def load_flow(folder: Path | str, kind: type[ConditionalGlow]) -> ConditionalGlow: ...
@overload
def load_flow(folder: Path | str, kind: type[TabularFlow]) -> TabularFlow: ...
def load_flow(folder: Path | str, kind: type[Saved] = Glow) -> Saved:
    """Load a flow that `save_flow` wrote, on the CPU and in evaluation mode.

    Args:
        folder: where `save_flow` wrote it.
        kind: `Glow`, `ConditionalGlow` or `TabularFlow`; a flow of another kind is refused.

    Raises:
        ValueError: when a file is missing, truncated, foreign, altered (hash mismatch), or of other shapes, or
            the flow is of another kind.
    """
    folder = Path(folder)
    card = load_card(folder)
    if KINDS[card["kind"]] is not kind:
        raise ValueError(f"the flow must be a {kind.__name__}, got a {KINDS[card['kind']].__name__} in {folder}")
    weights = folder / card["weights"]
    if weights.parent != folder or weights.suffix != ".safetensors":
        raise ValueError(f"weights must be a .safetensors file beside its card, got {card['weights']!r}")
    try:
        content = weights.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"the weights must be in {weights}, got no such file") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != card["weights_sha256"]:
        raise ValueError(
            f"the weights must have the SHA-256 {card['weights_sha256']}, got {digest} in {weights}: "
            "the file was truncated or altered; copy it again from its source"
        )
    tensors = _read(content, weights)
    try:
        outline = _outline(card, tensors)
    except (TypeError, KeyError):
        raise ValueError(
            f"config and dtype must describe a {kind.__name__}, got {card['config']}, {card['dtype']}"
        ) from None
    _check(outline, tensors, weights)
    if _metadata(content).get("flow") != _canonical(_description(outline)):
        raise ValueError(f"the model card must describe the flow that {weights.name} holds, got another config")
    flow = _new(card).to(DTYPES[card["dtype"]])
    flow.load_state_dict(tensors)
    return flow.eval()


def _outline(card: dict[str, Any], tensors: dict[str, Tensor]) -> Saved:
    """The flow without its numbers: a file from a stranger must not make this machine build more than the file holds.

    Every step or coupling has tensors of its own, so a flow of more than there are is refused before it is outlined.
    """
    config = card["config"]
    steps = int(config.get("couplings", 0)) + int(config.get("levels", 0)) * int(config.get("steps", 0))
    if steps > len(tensors):
        raise ValueError(f"weights must be those of {steps:,} steps, got {len(tensors):,}: some are missing or foreign")
    with torch.device("meta"):
        return _new(card).to(DTYPES[card["dtype"]])


def _new(card: dict[str, Any]) -> Saved:
    if card["kind"] == "tabular":
        told = card.get("conditions")
        return TabularFlow(TabularConfig.from_dict(card["config"]), None if told is None else ConditionConfig(**told))
    config = GlowConfig(**card["config"])
    if card["kind"] == "glow":
        return Glow(config)
    return ConditionalGlow(config, ConditionConfig(**card["conditions"]))


def _description(flow: Saved) -> dict[str, Any]:
    kind = next(name for name, made in KINDS.items() if isinstance(flow, made))
    description = {"kind": kind, "config": flow.config.to_dict(), "dtype": str(flow.dtype).removeprefix("torch.")}
    conditions = None if isinstance(flow, Glow) else flow.conditions
    return description | ({} if conditions is None else {"conditions": conditions.to_dict()})


def _canonical(description: dict[str, Any]) -> str:
    return json.dumps(description, sort_keys=True)


def _read(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_tensors(content))
    except safetensors.SafetensorError as error:
        raise ValueError(f"the weights must be a safetensors file, got {path}: {error}") from None


def _metadata(content: bytes) -> dict[str, str]:
    """Return the header's metadata; the format is 8 bytes of length, then JSON (safetensors, 2022)."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__", {}))


def _check(flow: Saved, tensors: dict[str, Tensor], path: Path) -> None:
    expected = flow.state_dict()
    if strange := sorted(expected.keys() ^ tensors.keys()):
        raise ValueError(f"weights must be those of {flow!r}, got {path} with {strange[0]} missing or foreign")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
            raise ValueError(
                f"{name} must be {tuple(tensor.shape)} {tensor.dtype}, "
                f"got {tuple(tensors[name].shape)} {tensors[name].dtype} in {path}"
            )
        if not bool(torch.isfinite(tensors[name]).all()):
            raise ValueError(f"weights must be finite, got {name} with values that are not in {path}")
