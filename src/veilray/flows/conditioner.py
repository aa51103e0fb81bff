"""From a condition to what every coupling net is told: spatial maps, and a scale and bias a hidden channel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from veilray.flows.condition import Condition, ConditionConfig
from veilray.flows.config import GlowConfig
from veilray.flows.layers.coupling import INPUT_BOUND, Film, Given

__all__ = ["Conditioner"]

VALUE_BOUND = 100.0
"""Continuous values are clamped to +-100. They should be of order 1; the clamp keeps a foreign one finite."""

FILM_NUMBERS = 4
"""Scale and bias of two hidden layers."""


class Conditioner(nn.Module):
    """Read a condition once, and say to every step of every level what follows from it.

    The condition becomes a vector e: a linear map plus a two-layer net, so that a code passes unbent. From e,
    one linear map a level makes `maps` channels at that level's resolution, which join the input of each of
    its coupling nets: a code of a picture can be rendered as a picture. Another makes a scale within (0, 2)
    and a bias within +-4 for each hidden channel of each coupling net, which start at 1 and 0. All are bounded
    like the coupling net's input, so that no condition can drive the flow out of its range.

    References:
        FiLM: Visual Reasoning with a General Conditioning Layer (Perez et al., 2018).
        Guided Image Generation with Conditional Invertible Neural Networks (Ardizzone et al., 2019):
        the condition as an input of every coupling net.
    """

    def __init__(self, conditions: ConditionConfig, config: GlowConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.conditions, self.config = conditions, config
        width = conditions.embedding
        self.direct = nn.Linear(conditions.features, width)
        self.hidden = nn.Linear(conditions.features, width)
        self.out = nn.Linear(width, width)
        self.maps = nn.ModuleList(
            nn.Linear(width, conditions.maps * (config.size // 2**level) ** 2) for level in range(1, config.levels + 1)
        )
        self.films = nn.ModuleList(
            nn.Linear(width, config.steps * FILM_NUMBERS * config.width) for _ in range(config.levels)
        )
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Start e and the maps at deviation 1, and the missing values and the scales and biases at none."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.zero_()
                module.bias.zero_()
        given = self.conditions.continuous + len(self.conditions.categorical)
        known = torch.ones(self.conditions.features, dtype=torch.bool)
        known[self.conditions.continuous : 2 * self.conditions.continuous] = False
        place = 2 * self.conditions.continuous
        for levels in self.conditions.categorical:
            known[place] = False
            place += levels + 1
        for layer in (self.direct, self.hidden):
            draw = torch.randn(layer.weight.shape, generator=generator) / math.sqrt(given)
            layer.weight.copy_(draw * known)
        for layer in (self.out, *self.maps):
            assert isinstance(layer, nn.Linear)
            layer.weight.normal_(0.0, 1 / math.sqrt(self.conditions.embedding), generator=generator)

    def embed(self, condition: Condition) -> Tensor:
        """Return e, `(n, embedding)`."""
        features = self.conditions.encode(condition).clamp(-VALUE_BOUND, VALUE_BOUND)
        return torch.as_tensor(self.direct(features) + self.out(F.silu(self.hidden(features))))

    def forward(self, condition: Condition) -> list[list[Given]]:
        """Return what each step of each level is told, finest level first."""
        e = self.embed(condition)
        rows, told = len(e), []
        for level, (to_maps, to_films) in enumerate(zip(self.maps, self.films, strict=True), start=1):
            side = self.config.size // 2**level
            # Made with channels last, the layout of the images they join.
            maps = to_maps(e).reshape(rows, side, side, self.conditions.maps).permute(0, 3, 1, 2)
            maps = INPUT_BOUND * torch.tanh(maps / INPUT_BOUND)
            films = to_films(e).reshape(rows, self.config.steps, FILM_NUMBERS, self.config.width, 1, 1)
            scales = 1 + torch.tanh(films[:, :, :2])
            biases = INPUT_BOUND * torch.tanh(films[:, :, 2:] / INPUT_BOUND)
            told.append(
                [
                    Given(
                        maps,
                        Film(scales[:, step, 0], biases[:, step, 0]),
                        Film(scales[:, step, 1], biases[:, step, 1]),
                    )
                    for step in range(self.config.steps)
                ]
            )
        return told
