"""One life of a release, for pictures and for rows: planned, reserved, drawn, staged, committed, published, read."""

from veilray.release.conditions import ConditionRule, condition_rules, draw_conditions
from veilray.release.dataset import OpenedRelease
from veilray.release.declared import facts_of
from veilray.release.images import plan_release, trained_on
from veilray.release.lifecycle import continue_release, run_release, start_release
from veilray.release.log import ImageLog, ReleaseLog, find_record
from veilray.release.model import Method, Model, ModelCard, Release, ReleaseContext, TableModel, read_card
from veilray.release.plan import Outcome, Plan
from veilray.release.reader import read_release
from veilray.release.table_reader import OpenedTable, is_table, open_table
from veilray.release.tables import drawn_records, plan_table, rows_trained_on

__all__ = [
    "ConditionRule",
    "ImageLog",
    "Method",
    "Model",
    "ModelCard",
    "OpenedRelease",
    "OpenedTable",
    "Outcome",
    "Plan",
    "Release",
    "ReleaseContext",
    "ReleaseLog",
    "TableModel",
    "condition_rules",
    "continue_release",
    "draw_conditions",
    "drawn_records",
    "facts_of",
    "find_record",
    "is_table",
    "open_table",
    "plan_release",
    "plan_table",
    "read_card",
    "read_release",
    "rows_trained_on",
    "run_release",
    "start_release",
    "trained_on",
]
