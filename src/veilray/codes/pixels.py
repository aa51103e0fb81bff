"""Pixel PCA: the leading principal components of the public pictures. The simplest content, and the baseline."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from veilray.codes.content import CONTENTS, Content, principal_components

__all__ = ["Pixels"]


@CONTENTS.register("pixels")
class Pixels(Content):
    """The pooled pixels themselves."""

    name = "pixels"

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.channels, self.side = channels, side

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pixels `(n, channels * side * side)`."""
        return pictures.flatten(1)

    @classmethod
    def fit(cls, pictures: Tensor, keep: int, **options: Any) -> tuple[Content, Tensor]:
        if options:
            raise ValueError(f"pixels must be fitted without options, got {', '.join(sorted(options))}")
        return cls(pictures.shape[1], pictures.shape[2]), principal_components(pictures.flatten(1).double(), keep)

    def sizes(self) -> dict[str, int]:
        return {"channels": self.channels, "side": self.side}
