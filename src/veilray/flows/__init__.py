"""Invertible networks: images to independent standard normals, and back."""

from veilray.flows.allocator import keep_freed_memory
from veilray.flows.base import Encoder, Flow
from veilray.flows.glow import Glow, GlowConfig
from veilray.flows.latent import Latent
from veilray.flows.storage import load_card, load_flow, save_flow
from veilray.flows.training import Progress, TrainingConfig, TrainingResult, train

__all__ = [
    "Encoder",
    "Flow",
    "Glow",
    "GlowConfig",
    "Latent",
    "Progress",
    "TrainingConfig",
    "TrainingResult",
    "keep_freed_memory",
    "load_card",
    "load_flow",
    "save_flow",
    "train",
]
