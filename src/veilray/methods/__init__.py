"""The systems that a user names, each joining an encoder with a mechanism, and the pipeline they share."""

from veilray.methods.base import METHODS, Method, Model, ModelCard, Release, ReleaseContext, load_method, read_card
from veilray.methods.cadp import CADP
from veilray.methods.conditions import ConditionRule, condition_rules, draw_conditions
from veilray.methods.declared import facts_of
from veilray.methods.directional import DirectionalRelease
from veilray.methods.dp_glow import DPGlow
from veilray.methods.pipeline import Outcome, Plan, continue_release, plan_release, start_release, trained_on
from veilray.methods.publication import read_release
from veilray.methods.record import Record, find_record
from veilray.methods.selection import SelectionRelease

__all__ = [
    "CADP",
    "METHODS",
    "ConditionRule",
    "DPGlow",
    "DirectionalRelease",
    "Method",
    "Model",
    "ModelCard",
    "Outcome",
    "Plan",
    "Record",
    "Release",
    "ReleaseContext",
    "SelectionRelease",
    "condition_rules",
    "continue_release",
    "draw_conditions",
    "facts_of",
    "find_record",
    "load_method",
    "plan_release",
    "read_card",
    "read_release",
    "start_release",
    "trained_on",
]
