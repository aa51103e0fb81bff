"""Invertible networks: images, or rows of tables, to independent standard normals, and back, under conditions."""

from veilray.flows.allocator import keep_freed_memory
from veilray.flows.base import Encoder, Flow
from veilray.flows.condition import Condition, ConditionConfig
from veilray.flows.conditional import ConditionalGlow
from veilray.flows.config import GlowConfig
from veilray.flows.glow import Glow
from veilray.flows.latent import Latent
from veilray.flows.row_training import Rows, train_rows
from veilray.flows.storage import load_card, load_flow, save_flow
from veilray.flows.tabular import TabularConfig, TabularFlow
from veilray.flows.training import Conditions, train
from veilray.flows.training_config import FlowTraining, Progress, RowTraining, RowTrainingResult, TrainingResult

__all__ = [
    "Condition",
    "ConditionConfig",
    "ConditionalGlow",
    "Conditions",
    "Encoder",
    "Flow",
    "FlowTraining",
    "Glow",
    "GlowConfig",
    "Latent",
    "Progress",
    "RowTraining",
    "RowTrainingResult",
    "Rows",
    "TabularConfig",
    "TabularFlow",
    "TrainingResult",
    "keep_freed_memory",
    "load_card",
    "load_flow",
    "save_flow",
    "train",
    "train_rows",
]
