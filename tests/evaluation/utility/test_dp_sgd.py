"""The central-DP yardstick: spends no more than asked, learns what that allows, and looks at nothing else."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch

from veilray.evaluation.utility import DPSGD, LEARNERS, Recipe, dp_sgd

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

needs_opacus = pytest.mark.skipif(
    importlib.util.find_spec("opacus") is None, reason='opacus is absent: pip install "veilray[dp-sgd]"'
)
SHORT = Recipe(learning_rate=0.25, epochs=4, batches=8)


@pytest.fixture(scope="module")
def fitted(digits: Part) -> DPSGD:
    return DPSGD(8, 1e-5, SHORT).fit(digits[0], digits[1], seed=0)


@needs_opacus
def test_digits_are_learned(fitted: DPSGD, digits: Part) -> None:
    assert (fitted.predict_proba(digits[2]).argmax(axis=1) == digits[3]).mean() > 0.6  # chance is .1


@needs_opacus
def test_no_more_is_spent_than_asked(fitted: DPSGD) -> None:
    assert 0.95 * 8 < fitted.spent <= 8
    assert f"spent {fitted.spent:.3f}" in repr(fitted)


@needs_opacus
@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_less_epsilon_takes_more_noise(epsilon: float, fitted: DPSGD, digits: Part) -> None:
    tighter = DPSGD(epsilon, 1e-5, SHORT).fit(digits[0][:200], digits[1][:200], seed=0)
    assert 0.9 * epsilon < tighter.spent <= epsilon
    assert (tighter.noise_multiplier or 0) > (fitted.noise_multiplier or 0)


@needs_opacus
def test_the_count_agrees_with_another_accountant(fitted: DPSGD) -> None:
    """Renyi accounting of the same run is a little looser, never tighter by more than the discretisation."""
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    step = dp_event.PoissonSampledDpEvent(1 / 8, dp_event.GaussianDpEvent(fitted.noise_multiplier or 0))
    renyi = RdpAccountant().compose(step, 32).get_epsilon(1e-5)
    assert fitted.spent - 0.02 < renyi < 1.3 * fitted.spent


@needs_opacus
def test_one_image_moves_a_step_by_no_more_than_the_clip(digits: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise, one step of the whole set: two neighbours differ by one clipped gradient at most."""
    monkeypatch.setattr(dp_sgd, "_noise_multiplier", lambda *settings: 1e-6)
    recipe = Recipe(learning_rate=1.0, clip=0.01, epochs=1, batches=1)
    images, labels = digits[0][:100], digits[1][:100]
    monkeypatch.setattr("opacus.accountants.PRVAccountant.get_epsilon", lambda *settings, **more: 0.0)
    both = [DPSGD(1, 1e-5, recipe).fit(images[:n], labels[:n], 0) for n in (100, 99)]
    start = dp_sgd_start(digits, recipe)
    sums = [(weights(learner) - start) * n for learner, n in zip(both, (100, 99), strict=True)]
    assert 0 < float((sums[0] - sums[1]).norm()) <= 0.01 * 1.01


def dp_sgd_start(digits: Part, recipe: Recipe) -> torch.Tensor:
    """The weights of seed 0 before the first step: those after a step of no length."""
    still = DPSGD(1, 1e-5, dataclasses.replace(recipe, learning_rate=1e-30))
    return weights(still.fit(digits[0][:100], digits[1][:100], 0))


def weights(learner: DPSGD) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in learner._model.parameters()]).double()


@needs_opacus
def test_equal_seeds_give_equal_learners_and_leave_torch_alone(digits: Part) -> None:
    train, labels, test, _ = (part[:120] for part in digits)
    state = torch.random.get_rng_state()
    one, again, other = (DPSGD(8, 1e-5, SHORT).fit(train, labels, seed).predict_proba(test) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@needs_opacus
def test_pixels_are_scaled_without_the_training_images(digits: Part) -> None:
    brighter = np.minimum(digits[0][:60].astype(int) + 60, 255).astype(np.uint8)
    one, other = (DPSGD(8, 1e-5, SHORT).fit(images, digits[1][:60], 0) for images in (digits[0][:60], brighter))
    assert torch.equal(one._tensor(digits[2]), other._tensor(digits[2]))


@needs_opacus
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 9), (1, 50, 33)], ids=str)
def test_any_shape_and_an_empty_batch_are_taken(shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, *shape)).astype(np.uint8)
    recipe = Recipe(epochs=1, batches=32)  # of 24 images: about half of all draws are empty
    found = DPSGD(8, 1e-5, recipe).fit(images, np.arange(24) % 2, 0).predict_proba(images)
    assert found.shape == (24, 2)
    assert np.isfinite(found).all()


@needs_opacus
def test_tuning_takes_the_better_settings_from_public_images(digits: Part) -> None:
    train, labels = digits[0][:600], digits[1][:600]
    poor = dataclasses.replace(SHORT, learning_rate=1e-6)
    chosen = DPSGD.tuned(train, labels, np.arange(600) // 2, epsilon=8, delta=1e-5, grid=(poor, SHORT))
    assert (chosen.recipe.learning_rate, chosen.epsilon) == (SHORT.learning_rate, 8)
    assert chosen.recipe.centre == pytest.approx(train.mean())
    assert chosen.recipe.origin == "tuned on public labelled images"


def test_it_is_no_recipient_of_a_release() -> None:
    assert DPSGD.name not in LEARNERS


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="epsilon must be above 0"):
        DPSGD(0, 1e-5)
    with pytest.raises(ValueError, match=r"delta must be in \(0, 1\)"):
        DPSGD(1, 1)
    with pytest.raises(ValueError, match="clip must be above 0"):
        Recipe(clip=0)
    with pytest.raises(ValueError, match="learner must be fitted to have spent"):
        _ = DPSGD(1, 1e-5).spent


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, digits: Part) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opacus.accountants.utils", None)
    dp_sgd._noise_multiplier.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "veilray\[dp-sgd\]"'):
        DPSGD(1, 1e-5, SHORT).fit(digits[0][:40], digits[1][:40], 0)
