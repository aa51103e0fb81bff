"""A convolutional network from a picture to a row of features: of the learned content codes, and of task readers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veilray.networks.blocks import convolution

__all__ = ["ConvFeatures"]


class ConvFeatures(nn.Module):
    """Pictures `(n, channels, side, side)` in [0, 1] to features `(n, features)`.

    Strided convolutions down to about 4x4, pooled to 2x2 (so that a feature may know where in the picture it stands),
    and one linear map. Batch normalisation is frozen by `eval()`: then each row comes from its own picture.

    Args:
        channels, side: of the pictures.
        width: channels of the first convolution; the later ones have two and four times as many.
        features: numbers a picture.
    """

    def __init__(self, channels: int, side: int, width: int = 32, features: int = 128) -> None:
        super().__init__()
        self.channels, self.side, self.width, self.features = channels, side, width, features
        widths = [width, 2 * width, 4 * width] if side >= 16 else [width, 2 * width]
        layers: list[nn.Module] = []
        before = channels
        for index, after in enumerate(widths):
            layers += convolution(before, after, stride=2, kernel=3 if index else 5)
            if index:
                layers += convolution(after, after)
            before = after
        self.body = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.read = nn.Linear(4 * before, features)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features `(n, features)`."""
        return torch.as_tensor(self.read(self.pool(self.body(pictures)).flatten(1)))

    def sizes(self) -> dict[str, int]:
        """The arguments that build this network again."""
        return {name: int(getattr(self, name)) for name in ("channels", "side", "width", "features")}
