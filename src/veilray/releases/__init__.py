"""One life of a release, for pictures and for rows: planned, reserved, drawn, staged, committed, published, read."""

from veilray.releases.conditions import ConditionRule, condition_rules, draw_conditions
from veilray.releases.dataset import OpenedRelease
from veilray.releases.declared import facts_of
from veilray.releases.images import plan_release, trained_on
from veilray.releases.lifecycle import continue_release, run_release, start_release
from veilray.releases.log import ImageLog, ReleaseLog, find_record
from veilray.releases.model import Method, Model, ModelCard, Release, ReleaseContext, TableModel, read_card
from veilray.releases.plan import Outcome, Plan
from veilray.releases.reader import read_release
from veilray.releases.table_reader import OpenedTable, is_table, open_table
from veilray.releases.tables import drawn_records, plan_table, rows_trained_on

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
