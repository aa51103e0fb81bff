"""A trained flow on disk: see `Artefact`. The tensors' file holds the configuration too, so that its hash covers it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, overload

import torch

from veilray.flows.condition import ConditionConfig
from veilray.flows.conditional import ConditionalGlow
from veilray.flows.config import GlowConfig
from veilray.flows.glow import Glow
from veilray.flows.tabular import TabularConfig, TabularFlow
from veilray.networks.artefact import Artefact, metadata_of, rebuilt, unpacked

__all__ = ["CARD_FILE", "load_card", "load_flow", "save_flow"]

CARD_FILE = "flow.json"
_ARTEFACT = Artefact(CARD_FILE, format="veilray-flow", what="the model card", stem="weights")
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
    description = _description(flow)
    metadata = {"flow": _canonical(description)}
    _ARTEFACT.save(Path(folder), flow.state_dict(), description, card=card, metadata=metadata)
    return Path(folder) / CARD_FILE


def load_card(folder: Path | str) -> dict[str, Any]:
    """Read and check the JSON beside the weights: `config`, `dtype`, `weights_sha256`, `card`, ...

    Raises:
        ValueError: when the file is missing, not JSON, foreign, or of a newer version.
    """
    content = _ARTEFACT.fields(Path(folder))
    if content.get("kind") not in KINDS:
        raise ValueError(f"kind must be {' or '.join(KINDS)}, got {content.get('kind')!r} in {folder}")
    for key, kind in (("config", dict), ("dtype", str)):
        if not isinstance(content.get(key), kind):
            raise ValueError(f"{key} must be a {kind.__name__}, got {content.get(key)!r} in {folder}")
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
    content = _ARTEFACT.content(folder, card)
    tensors = unpacked(content, folder)
    try:
        _refuse_more_steps(card["config"], len(tensors))
        flow = rebuilt(lambda: _new(card), tensors)
    except (TypeError, KeyError):
        raise ValueError(
            f"config and dtype must describe a {kind.__name__}, got {card['config']}, {card['dtype']}"
        ) from None
    if metadata_of(content).get("flow") != _canonical(_description(flow)):
        raise ValueError(f"the model card must describe the flow that its weights hold, got another config in {folder}")
    return flow


def _refuse_more_steps(config: dict[str, Any], most: int) -> None:
    """Every step or coupling has tensors of its own: a flow of more than there are is refused before it is outlined."""
    steps = int(config.get("couplings", 0)) + int(config.get("levels", 0)) * int(config.get("steps", 0))
    if steps > most:
        raise ValueError(f"weights must be those of {steps:,} steps, got {most:,}: some are missing or foreign")


def _new(card: dict[str, Any]) -> Saved:
    return _of_kind(card).to(DTYPES[card["dtype"]])


def _of_kind(card: dict[str, Any]) -> Saved:
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
