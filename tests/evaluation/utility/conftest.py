"""Real images that are small: the 8 x 8 digits of scikit-learn, and two classes of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def digits() -> Part:
    """Training images and labels, test images and labels."""
    values, labels = load_digits(return_X_y=True)
    images = (values.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
    return images[:1300], labels[:1300], images[1300:], labels[1300:]


@pytest.fixture(scope="session")
def pair(digits: Part) -> Part:
    """The digits 3 and 8, as classes 0 and 1."""
    train, train_labels, test, test_labels = digits
    chosen, tested = np.isin(train_labels, (3, 8)), np.isin(test_labels, (3, 8))
    return (
        train[chosen],
        (train_labels[chosen] == 8).astype(int),
        test[tested],
        (test_labels[tested] == 8).astype(int),
    )


@pytest.fixture(scope="session")
def codes(digits: Part) -> Part:
    """Sixteen averaged pixels of each digit, as a code."""
    train, train_labels, test, test_labels = digits
    code = [images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) for images in (train, test)]
    return code[0], train_labels, code[1], test_labels
