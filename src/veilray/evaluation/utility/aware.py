"""A learner that knows the mechanism: it maximises the likelihood of what was released.

The release says by which mechanism each code row was drawn, and the kept code comes with the law of the public images'
codes. So the probability of a released pair (row z, label y) is known up to the classifier itself:

    p(z, y) = sum over codes c of  law(c) R(z | c) p(y | c),

R the mechanism's own likelihood. The classifier p(y | c) is trained by maximising it, with the sum taken over points
drawn from the law. Nothing is ever "denoised": a row that says little weighs many points alike. Where labels were
randomised too, p(y | c) is passed through the public matrix of that response (label-noise correction by a known
transition matrix: Patrini et al. 2017, "forward"). At test time the classifier is asked about clean codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from veilray.codes import Reference
from veilray.evaluation.utility.base import Floats, Learner, Space, validation_rows
from veilray.networks.blocks import seeded
from veilray.privacy import Mechanism, SeededEntropy

__all__ = ["CodeAware"]

_POINTS = 2000
_LINEAR_STEPS, _NETWORK_STEPS = 60, 300
_PENALTY = 1.0
"""Of the squared weights, beside the summed log likelihood: a normal prior of variance 1, as logistic regression's."""
_HIDDEN = 64
_CLEARLY = 2.0
"""The network replaces the linear classifier where its held-out likelihood is better by so many standard errors."""


class CodeAware(Learner):
    """Maximum likelihood through the known mechanism; a linear classifier or a small network, as validates better.

    It is fitted on the released rows as the mechanism drew them, and asked about clean codes. It cannot be built from a
    name alone, so it stands beside the registry of learners and not in it.

    Args:
        mechanism: the calibrated mechanism that drew the rows.
        reference: the law of the public images' codes.
        response: `(C, C)` probabilities of a released label (column) given the true one (row), for labels that were
            randomised; None for labels as they are. It tells how many classes there are.

    Raises:
        ValueError: for a mechanism of another dimension than the law's, or a response that is no matrix of
            probabilities; by `fit`, also for rows or labels that they do not fit.
    """

    name: ClassVar[str] = "code-aware"
    space: ClassVar[Space] = "code"

    def __init__(self, mechanism: Mechanism, reference: Reference, response: Floats | None = None) -> None:
        if mechanism.dimension != reference.dimension:
            raise ValueError(
                f"mechanism must be of the law's dimension, {reference.dimension}, got one of {mechanism.dimension}"
            )
        if response is not None:
            _check_response(response)
        self.mechanism, self.reference, self.response = mechanism, reference, response

    def _fit(self, inputs: NDArray[Any], labels: NDArray[np.int64], seed: int) -> None:
        if inputs.shape[1] != self.reference.dimension:
            raise ValueError(f"inputs must be (n, {self.reference.dimension}) released rows, got {inputs.shape}")
        if self.response is not None:
            if self.classes > len(self.response):
                raise ValueError(f"labels must be 0 to {len(self.response) - 1}, as the response, got {labels.max()}")
            self._classes = len(self.response)
        points = self.reference.sample(_POINTS, SeededEntropy(f"points of a learner {seed}"))
        job = _Likelihood(
            torch.from_numpy(points).float(),
            torch.from_numpy(_posterior(self.mechanism, inputs, points)),
            torch.from_numpy(labels),
            torch.eye(self.classes) if self.response is None else torch.from_numpy(self.response).float(),
        )
        held = torch.from_numpy(validation_rows(labels, seed))
        linear, network = (job.logs(job.fitted(hidden, ~held, seed))[held] for hidden in (0, _HIDDEN))
        gain = network - linear
        better = gain.mean() > _CLEARLY * gain.std() / len(gain) ** 0.5
        self._model = job.fitted(_HIDDEN if better else 0, torch.ones_like(held), seed)

    @torch.no_grad()
    def _probabilities(self, inputs: NDArray[Any]) -> Floats:
        return np.asarray(self._model(torch.from_numpy(inputs).float()).softmax(dim=1).double().numpy())


def _check_response(response: Floats) -> None:
    if response.ndim != 2 or response.shape[0] != response.shape[1] or len(response) < 2:
        raise ValueError(f"response must be (C, C) with C of 2 or more, got shape {response.shape}")
    if not (response >= 0).all() or not np.allclose(response.sum(axis=1), 1, atol=1e-6):
        raise ValueError("response must hold probabilities whose rows sum to one, got other values")


def _posterior(mechanism: Mechanism, released: Floats, points: Floats) -> NDArray[np.float32]:
    """Probability of each point `(s,)` given each released row `(n,)`, all points alike beforehand: `(n, s)`."""
    logs = np.empty((len(released), len(points)), dtype=np.float32)
    for index, point in enumerate(points):
        logs[:, index] = mechanism.log_likelihood(released, point[None])
    logs -= logs.max(axis=1, keepdims=True)
    weights = np.exp(logs)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class _Likelihood:
    """Of released labels, through the mechanism.

    Args:
        points: `(s, k)` codes drawn from the law.
        weights: `(n, s)` probability of each point given each released row.
        labels: `(n,)` released labels.
        response: `(C, C)` from true to released labels.
    """

    points: Tensor
    weights: Tensor
    labels: Tensor
    response: Tensor

    def logs(self, model: nn.Module, rows: Tensor | None = None) -> Tensor:
        """log p(label | row) of the chosen rows, or of all."""
        chosen = slice(None) if rows is None else rows
        released = self.weights[chosen] @ (model(self.points).softmax(dim=1) @ self.response)
        return torch.as_tensor(released.gather(1, self.labels[chosen, None])[:, 0].clamp_min(1e-12).log())

    def fitted(self, hidden: int, rows: Tensor, seed: int) -> nn.Module:
        """The classifier, linear or with one hidden layer, of largest penalised likelihood on the chosen rows."""
        model = seeded(lambda: _classifier(self.points.shape[1], hidden, len(self.response)), seed)
        places = rows.nonzero()[:, 0]

        def loss() -> Tensor:
            penalty = sum(parameter.square().sum() for parameter in model.parameters() if parameter.ndim == 2)
            return 0.5 * _PENALTY * penalty - self.logs(model, places).sum()

        if hidden:
            _descend(model, loss, torch.optim.Adam(model.parameters(), lr=0.01), _NETWORK_STEPS)
        else:
            options = {"max_iter": _LINEAR_STEPS, "line_search_fn": "strong_wolfe"}
            _descend(model, loss, torch.optim.LBFGS(model.parameters(), **options), 1)  # type: ignore[arg-type]
        return model.eval().requires_grad_(False)


def _descend(model: nn.Module, loss: Callable[[], Tensor], optimiser: torch.optim.Optimizer, steps: int) -> None:
    def closure() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(steps):
        optimiser.step(closure)  # type: ignore[arg-type]  # torch types the closure's value as a float


def _classifier(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    if not hidden:
        linear = nn.Linear(inputs, classes)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        return nn.Sequential(linear)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, classes))
