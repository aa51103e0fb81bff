"""Contents that are a convolutional network, and how their networks are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from veilray.codes.content import Content
from veilray.networks.conv_features import ConvFeatures
from veilray.networks.loop import Loop, RateSchedule

__all__ = ["ConvContent", "train_content"]

_STEPS = 2000
"""Steps of a training whose passes are not given, about."""

OnEpoch = Callable[[int, int], None]
"""Called with passes done, and all passes."""


class ConvContent(Content):
    """A small convolutional network; see `ConvFeatures` for its sizes."""

    def __init__(self, channels: int, side: int, width: int = 32, features: int = 128) -> None:
        super().__init__()
        self.side = side
        self.network = ConvFeatures(channels, side, width, features)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features `(n, features)`."""
        return torch.as_tensor(self.network(pictures))

    def sizes(self) -> dict[str, int]:
        return self.network.sizes()


def train_content(
    content: nn.Module,
    optimiser: torch.optim.Optimizer,
    pictures: Tensor,
    loss_of: Callable[[Tensor], Tensor],
    batch: int,
    epochs: int | None,
    schedule: Callable[[int], RateSchedule],
    on_epoch: OnEpoch | None,
) -> None:
    """Train in place on batches of pictures `(n, c, side, side)`; all draws come from the global generator.

    Args:
        epochs: passes; None: so many that there are about 2,000 steps.
        schedule: of the rate, given the number of steps in all.

    Raises:
        ValueError: for a loss that is not finite.
    """
    steps = max(1, len(pictures) // batch)
    passes = epochs or -(-_STEPS // steps)

    def batches(epoch: int) -> Iterator[Tensor]:
        del epoch
        order = torch.randperm(len(pictures))
        for step in range(steps):
            yield pictures[order[step * batch : (step + 1) * batch]]

    loop = Loop(
        content,
        optimiser,
        batches,
        loss_of,
        epochs=passes,
        steps=steps,
        schedule=schedule(passes * steps),
        on_epoch=lambda done: on_epoch(done.number, passes) if on_epoch else None,
    )
    loop.run()
    content.eval()
