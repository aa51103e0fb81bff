"""Names that the utility study and what it reads have in common. Nothing slow is imported here."""

from __future__ import annotations

__all__ = ["DECAYED", "PREPARE"]

DECAYED = "-decayed"
"""What a kind of code ends with where later numbers may weigh less than earlier ones."""
PREPARE = "run studies/prepare_utility.py"
"""The cure where something is not prepared."""
