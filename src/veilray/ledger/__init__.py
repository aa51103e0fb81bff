"""What was spent, by whom, in a database. Knows claims, not images."""

from veilray.ledger.journal import Journal, ReleaseRow, ReleaseState, default_ledger

__all__ = ["Journal", "ReleaseRow", "ReleaseState", "default_ledger"]
