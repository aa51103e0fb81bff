"""What was spent, by whom, in a database. Knows claims, not images."""

from veilray.ledger.budget import Budget
from veilray.ledger.journal import Journal, ReleaseRow, ReleaseState
from veilray.ledger.location import default_ledger, ledger_path

__all__ = ["Budget", "Journal", "ReleaseRow", "ReleaseState", "default_ledger", "ledger_path"]
