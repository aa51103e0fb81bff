"""Pixel PCA: the leading principal components of the public pictures. The simplest content, and the baseline."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from veilray.codes.content import CONTENTS, Content

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
        flat = pictures.flatten(1).double()
        _, _, components = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
        if keep > len(components):
            raise ValueError(f"keep must be at most {len(components)} for so few pictures, got {keep}")
        return cls(pictures.shape[1], pictures.shape[2]), components[:keep].T.contiguous()

    def sizes(self) -> dict[str, int]:
        return {"channels": self.channels, "side": self.side}
