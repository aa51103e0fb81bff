"""Networks of every size, and a schedule that learns, repeats and refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from veilray.cloud import CLOUD_TRAINING, NETWORKS, fit_network
from veilray.cloud.training import probabilities


def halves(count: int, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that are brighter in one strip, one strip a class."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % classes
    images = rng.integers(0, 120, (count, 1, 28, 28), dtype=np.uint8)
    for row, target in enumerate(targets):
        images[row, :, :, target * 9 : target * 9 + 9] += 100
    return images, targets.astype(np.int64)


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 2), (3, 33, 5), (1, 100, 3)])
def test_every_network_takes_every_size(network: str, channels: int, size: int, classes: int) -> None:
    model = NETWORKS[network](channels, size, classes).eval()
    logits = model(torch.rand(2, channels, size, size))
    assert logits.shape == (2, classes)
    logits.sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize(("network", "classes"), [("cnn", 3), ("resnet", 2), ("levels", 2)])
def test_every_network_learns_two_classes_or_more(network: str, classes: int) -> None:
    images, targets = halves(120, 0, classes)
    model, figures = fit_network(
        images, targets, classes, network=network, settings=replace(CLOUD_TRAINING, epochs=6, batch_size=16, seed=1)
    )
    fresh, truth = halves(60, 1, classes)
    rows = probabilities(model, fresh)
    assert (rows.argmax(1) == truth).mean() > 0.9
    np.testing.assert_allclose(rows.sum(1), 1)
    assert figures.validation_accuracy > 0.9
    assert figures.training_images + figures.validation_images == 120


def test_a_seed_repeats_a_training_and_leaves_torchs_own_alone() -> None:
    images, targets = halves(60, 0)
    before = torch.random.get_rng_state()
    first, second, other = (
        fit_network(images, targets, 2, settings=replace(CLOUD_TRAINING, epochs=1, seed=seed))[0] for seed in (3, 3, 4)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_progress_is_told_after_each_epoch() -> None:
    told: list[tuple[int, int]] = []
    images, targets = halves(40, 0)
    fit_network(
        images,
        targets,
        2,
        settings=replace(CLOUD_TRAINING, epochs=3),
        on_progress=lambda done, total, note: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("count", "targets", "message"),
    [
        (19, [0, 1], "images must be 20 or more"),
        (40, [0], "labels must be of two classes or more"),
        (40, [0] * 39 + [1], "labels must be of two classes or more with 2 images or more each"),
    ],
)
def test_what_cannot_be_learned_is_refused(count: int, targets: list[int], message: str) -> None:
    truth = np.resize(np.array(targets, np.int64), count)
    with pytest.raises(ValueError, match=message):
        fit_network(np.zeros((count, 1, 28, 28), np.uint8), truth, 2)
