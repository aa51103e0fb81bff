"""Invertible networks: images to independent standard normals, and back, under conditions or without."""

from veilray.flows.allocator import keep_freed_memory
from veilray.flows.base import Encoder, Flow
from veilray.flows.condition import Condition, ConditionConfig
from veilray.flows.conditional import ConditionalGlow
from veilray.flows.config import GlowConfig
from veilray.flows.glow import Glow
from veilray.flows.latent import Latent
from veilray.flows.storage import load_card, load_flow, save_flow
from veilray.flows.training import Conditions, train
from veilray.flows.training_config import Progress, TrainingConfig, TrainingResult

__all__ = [
    "Condition",
    "ConditionConfig",
    "ConditionalGlow",
    "Conditions",
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
