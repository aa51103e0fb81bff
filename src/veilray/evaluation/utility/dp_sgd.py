"""The central-DP yardstick: a network trained by DP-SGD on the private images themselves.

Nothing is released but the network: whoever trains it sees every image and is trusted. What a release of images is
worth is set against what this trusted curator could have had at the same epsilon.

DP-SGD (Abadi et al. 2016, "Deep learning with differential privacy") by Opacus (Yousefpour et al. 2021): each step
takes each image with one probability (Poisson), clips the gradient of each, and adds normal noise to their sum. The
network is a small one with tanh and group norm, as Tramer and Boneh (2021, "Differentially private learning needs
better features") and De et al. (2022, "Unlocking high-accuracy differentially private image classification") advise,
and its weights are averaged over the last steps, which costs nothing. Whatever else `networks.CNN` takes from its
training images would leak and is absent: pixels are scaled by fixed or public numbers, no image is held out to stop
on, and there is no batch norm.

The unit is the image: two sets are neighbours when one has one image more. A patient with m images spends more than
epsilon. The number of images, the number of classes and the settings count as public.

The noise is torch's, of a seed: this is an experiment. A network that leaves the house needs other randomness.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from veilray.evaluation.utility.base import Floats, Learner, Space, checked_labels
from veilray.evaluation.utility.pooling import pooled
from veilray.evaluation.utility.training import probabilities
from veilray.evaluation.utility.tstr import score

__all__ = ["DEFAULTS", "DPSGD", "GRID", "Recipe"]

SIDE = 32
"""As the other networks: larger images are average-pooled to at most 32 x 32 first."""
STRIDED_FROM = 17
"""As the other networks: larger images are halved by the first convolution."""
MOMENTUM = 0.9
_NEW_SHARE = 0.05
"""Of the newest weights in their average: it remembers about twenty steps."""
_FOLDS = 5
_CURE = 'training by DP-SGD needs opacus: pip install "veilray[dp-sgd]"'


@dataclass(frozen=True)
class Recipe:
    """How the network is trained; none of it may come from the images that are protected.

    Args:
        learning_rate: of SGD with momentum .9. With every gradient clipped it only counts times `clip`.
        clip: largest norm of the gradient of one image.
        epochs: times that each image is taken, on average.
        batches: steps an epoch; each takes each image with probability 1 / batches.
        centre: pixel value that is shown to the network as 0; None: the middle of the pixel type's range.
        spread: difference of pixel values that is shown as 1; None: a quarter of that range.
        origin: where these settings come from, in words.

    Raises:
        ValueError: for a number that is not above 0.
    """

    learning_rate: float = 0.12
    clip: float = 1.0
    epochs: int = 10
    batches: int = 16
    centre: float | None = None
    spread: float | None = None
    origin: str = "defaults, set on Fashion-MNIST and digits, test images included"

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip", "epochs", "batches", "spread"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")


DEFAULTS = Recipe()
"""Chosen with sight of the test accuracy on Fashion-MNIST and 8 x 8 digits, as were the network and the reach of
`GRID`: on those two sets the yardstick is flattered a little, on others not."""
GRID: tuple[Recipe, ...] = tuple(
    dataclasses.replace(DEFAULTS, learning_rate=rate, epochs=epochs)
    for rate in (0.06, 0.12, 0.25, 0.5)
    for epochs in (8, 24)
)
"""What `DPSGD.tuned` tries: a rate for much and for little noise, few and many steps. The clip stays: only its product
with the rate counts."""


class DPSGD(Learner):
    """A small network trained with (epsilon, delta)-DP, the image being the unit.

    It stands beside the registry of learners: it cannot be built from a name alone, and it is no recipient of a
    release.

    Args:
        epsilon: of the trained network.
        delta: of the trained network; below one over the number of images.
        recipe: settings that no protected image had a part in; `tuned` finds some on public images.
        device: where torch trains and predicts.

    Raises:
        ValueError: for an epsilon that is not above 0 or a delta outside (0, 1).

    Example:
        >>> DPSGD(1, 1e-5)
        DPSGD(epsilon=1, delta=1e-05, image, new)
    """

    name: ClassVar[str] = "dp-sgd"
    space: ClassVar[Space] = "image"
    unit: ClassVar[str] = "image"

    _spent: float | None = None
    noise_multiplier: float | None = None
    """Standard deviation of the noise over the clip; None before `fit`."""

    def __init__(self, epsilon: float, delta: float, recipe: Recipe = DEFAULTS, device: str = "cpu") -> None:
        if not 0 < epsilon < np.inf:
            raise ValueError(f"epsilon must be above 0 and finite, got {epsilon}")
        if not 0 < delta < 1:
            raise ValueError(f"delta must be in (0, 1), got {delta}")
        self.epsilon, self.delta, self.recipe, self.device = epsilon, delta, recipe, device

    @classmethod
    def tuned(
        cls,
        images: NDArray[Any],
        labels: NDArray[Any],
        patients: NDArray[Any] | None = None,
        *,
        epsilon: float,
        delta: float,
        seed: int = 0,
        grid: Sequence[Recipe] = GRID,
        device: str = "cpu",
    ) -> Self:
        """Return a new learner with the best settings of a grid, found on PUBLIC labelled images.

        Four fifths of the public images are learned by DP-SGD at this very epsilon, the last fifth, of other patients,
        judges by `tstr.score`; the first of equals is taken. There should be about as many public images as there are
        private ones: the noise that is best borne depends on the number. Where no public labels exist, use the
        defaults; `recipe.origin` says which it was. The scale of the pixels is that of the public images too.

        Args:
            images: `(n, c, h, w)` public images, never private or test ones.
            labels: `(n,)` their classes.
            patients: `(n,)` patient keys; None where each image is a patient of its own.
            epsilon: as of the learner.
            delta: as of the learner.
            seed: of the split and of every trial.
            grid: settings to try.
            device: as of the learner.
        """
        whole = checked_labels(labels, len(images))
        keys = np.arange(len(images)) if patients is None else patients
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
        train, judge = next(folds.split(np.zeros(len(whole)), whole, keys))
        centre, spread = float(images.mean()), max(float(images.std()), 1.0)
        best, best_value = DEFAULTS, -np.inf
        for tried in grid:
            recipe = dataclasses.replace(tried, centre=centre, spread=spread, origin="tuned on public labelled images")
            learner = cls(epsilon, delta, recipe, device)
            value = score(learner, images[train], whole[train], images[judge], whole[judge], seed=seed).value
            if value > best_value:
                best, best_value = recipe, value
        return cls(epsilon, delta, best, device)

    @property
    def spent(self) -> float:
        """Epsilon that Opacus' accountant counted at `delta`, for one image; raises ValueError before `fit`."""
        if self._spent is None:
            raise ValueError("learner must be fitted to have spent, got a new one: call fit() and use what it returns")
        return self._spent

    def _fit(self, inputs: NDArray[Any], labels: NDArray[np.int64], seed: int) -> None:
        rows, targets = self._tensor(inputs), torch.from_numpy(labels).to(self.device)
        roots = np.random.SeedSequence(seed).generate_state(3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(roots[0]))
            network = _network(tuple(rows.shape[1:]), self.classes).to(self.device)
        with _quiet():
            sigma = _noise_multiplier(self.epsilon, self.delta, self.recipe.batches, self.recipe.epochs)
            self._model, self._spent = _descend(network, rows, targets, self.recipe, sigma, self.delta, roots[1:])
        self.noise_multiplier = sigma

    def _probabilities(self, inputs: NDArray[Any]) -> Floats:
        return probabilities(self._model, self._tensor(inputs))

    def _tensor(self, inputs: NDArray[Any]) -> torch.Tensor:
        reach = int(np.iinfo(inputs.dtype).max)
        centre = reach / 2 if self.recipe.centre is None else self.recipe.centre
        spread = reach / 4 if self.recipe.spread is None else self.recipe.spread
        return torch.from_numpy((pooled(inputs, SIDE) - np.float32(centre)) / np.float32(spread)).to(self.device)

    def __repr__(self) -> str:
        state = "new" if self._spent is None else f"spent {self._spent:.3f}"
        return f"{type(self).__name__}(epsilon={self.epsilon}, delta={self.delta}, {self.unit}, {state})"


def _network(shape: tuple[int, ...], classes: int) -> nn.Module:
    """22,000 parameters for one channel and ten classes."""
    stride = 2 if max(shape[1:]) >= STRIDED_FROM else 1
    return nn.Sequential(
        nn.Conv2d(shape[0], 16, 5, stride, padding=2),
        nn.GroupNorm(4, 16),
        nn.Tanh(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GroupNorm(4, 32),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 32),
        nn.Tanh(),
        nn.Linear(32, classes),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without two warnings that say nothing here: the images need no gradient, and another accountant counts."""
    with warnings.catch_warnings():
        for message in ("Full backward hook is firing", "Optimal order is the"):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


@lru_cache
def _noise_multiplier(epsilon: float, delta: float, batches: int, epochs: int) -> float:
    """The least noise, to .01 of epsilon, that Opacus' tightest accountant finds enough for the whole run."""
    try:
        from opacus.accountants.utils import get_noise_multiplier  # noqa: PLC0415  an optional extra
    except ImportError:
        raise ImportError(_CURE) from None
    sigma: float = get_noise_multiplier(
        target_epsilon=epsilon,
        target_delta=delta,
        sample_rate=1 / batches,
        steps=batches * epochs,
        accountant="prv",
        epsilon_tolerance=0.01 * min(epsilon, 1.0),
    )
    return sigma


def _descend(
    network: nn.Module,
    rows: torch.Tensor,
    targets: torch.Tensor,
    recipe: Recipe,
    sigma: float,
    delta: float,
    roots: NDArray[Any],
) -> tuple[nn.Module, float]:
    """Train `network`; returns its averaged weights and the epsilon that the accountant counted, step by step."""
    from opacus import GradSampleModule  # noqa: PLC0415
    from opacus.accountants import PRVAccountant  # noqa: PLC0415
    from opacus.optimizers import DPOptimizer  # noqa: PLC0415

    taking = torch.Generator().manual_seed(int(roots[0]))
    noise = torch.Generator(rows.device).manual_seed(int(roots[1]))
    rate = 1 / recipe.batches
    average = AveragedModel(
        network, avg_fn=lambda kept, new, steps: kept + (new - kept) * max(_NEW_SHARE, 1 / (steps + 1))
    )
    hooked = GradSampleModule(network)
    optimiser = DPOptimizer(
        torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=MOMENTUM),
        noise_multiplier=sigma,
        max_grad_norm=recipe.clip,
        expected_batch_size=rate * len(rows),  # of all draws: the size of this one would tell
        generator=noise,
    )
    accountant = PRVAccountant()
    optimiser.attach_step_hook(accountant.get_optimizer_hook_fn(sample_rate=rate))
    for _ in range(recipe.epochs * recipe.batches):
        taken = (torch.rand(len(rows), generator=taking) < rate).nonzero()[:, 0].to(rows.device)
        optimiser.zero_grad(set_to_none=True)
        cross_entropy(hooked(rows[taken]), targets[taken]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.update_parameters(network)
    return average.module.eval(), float(accountant.get_epsilon(delta))
