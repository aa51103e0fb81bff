"""What the cells of the study of tables can be, by name. Nothing slow is imported here."""

from __future__ import annotations

__all__ = ["CONTROLS", "EPSILONS", "MECHANISMS", "RESPONSES", "SETTINGS", "TABLES"]

EPSILONS = ("0.5", "1", "2", "4", "8")
TABLES = ("adult", "breast-cancer", "diabetes")
MECHANISMS = ("directional", "laplace", "gaussian", "codebook")
RESPONSES = ("k-rr-split", "k-rr-filled", "k-rr-sampled")
CONTROLS = ("raw", "public-only", "null-conditional")
SETTINGS = ("labelled", "scarce")
