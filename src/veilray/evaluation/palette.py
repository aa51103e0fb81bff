"""Colours and markers of the figures: one mechanism looks the same in every one.

The colours are those of Okabe and Ito (2008), told apart by colour-blind readers; markers repeat the distinction.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "MECHANISM_STYLES",
    "ORANGE",
    "OTHER",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "Style",
]

Style = tuple[str, str]
"""Colour and matplotlib marker."""

BLACK, GREY = "#000000", "#666666"
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"

OTHER: Style = (GREY, "X")
"""For a name without a style of its own."""

MECHANISM_STYLES: Mapping[str, Style] = {
    "directional": (VERMILLION, "o"),
    "codebook": (GREEN, "v"),
    "selection": (BLUE, "P"),
    "laplace": (ORANGE, "s"),
    "gaussian": (SKY, "^"),
    "blockwise": (PURPLE, "D"),
}
