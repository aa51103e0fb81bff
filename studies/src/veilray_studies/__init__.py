"""Studies: a table of independent cells, stated in core-hours before it starts, resumable, appended to a committed CSV.

A study finds out; it never steers a release. Its cells read originals and their noise may be seeded, so what it writes
is internal and carries no claim.
"""

from veilray_studies.cells import Cell, Config, select
from veilray_studies.contract import STUDIES, Parameters, Scalar, Study
from veilray_studies.kinds.cadp import CadpStudy
from veilray_studies.kinds.obfuscation import ObfuscationStudy
from veilray_studies.kinds.tables import TablesStudy
from veilray_studies.kinds.utility import Utility
from veilray_studies.plan import Plan
from veilray_studies.runner import Failure, Outcome, draw_study, plan_study, run_study
from veilray_studies.table import Interval, StudyTable

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
