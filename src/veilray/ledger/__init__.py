"""What was spent, by whom, in a database. Knows claims, not images."""

from veilray.ledger.budget import Budget
from veilray.ledger.journal import Journal, ReleaseRow, ReleaseState, default_ledger

__all__ = ["Budget", "Journal", "ReleaseRow", "ReleaseState", "default_ledger"]
