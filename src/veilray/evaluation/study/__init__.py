"""Studies: a table of independent cells, stated in core-hours before it starts, resumable, appended to a committed CSV.

A study finds out; it never steers a release. Its cells read originals and their noise may be seeded, so what it writes
is internal and carries no claim.
"""

from veilray.evaluation.study.cells import Cell, Config, select
from veilray.evaluation.study.contract import STUDIES, Parameters, Scalar, Study
from veilray.evaluation.study.kinds.cadp import CadpStudy
from veilray.evaluation.study.kinds.obfuscation import ObfuscationStudy
from veilray.evaluation.study.kinds.tables import TablesStudy
from veilray.evaluation.study.kinds.utility import Utility
from veilray.evaluation.study.plan import Plan
from veilray.evaluation.study.runner import Failure, Outcome, draw_study, plan_study, run_study
from veilray.evaluation.study.table import Interval, StudyTable

__all__ = [
    "STUDIES",
    "CadpStudy",
    "Cell",
    "Config",
    "Failure",
    "Interval",
    "ObfuscationStudy",
    "Outcome",
    "Parameters",
    "Plan",
    "Scalar",
    "Study",
    "StudyTable",
    "TablesStudy",
    "Utility",
    "draw_study",
    "plan_study",
    "run_study",
    "select",
]
