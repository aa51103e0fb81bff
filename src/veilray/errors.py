"""What the command line turns into exit codes: wrong use is ValueError (2), a refusal is `Refused` (3)."""

from __future__ import annotations

__all__ = ["Refused"]


class Refused(Exception):
    """The request is well formed, but keeping the claim forbids it (budget, policy, unsafe state)."""
