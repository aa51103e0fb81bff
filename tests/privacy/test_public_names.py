"""What the package exports, and that its examples are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import veilray.privacy as package

MODULES = sorted(m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + "."))


def test_every_exported_name_exists():
    assert all(hasattr(package, name) for name in package.__all__)
    assert {"Guarantee", "Claim", "MECHANISMS", "Mechanism", "SystemEntropy", "SeededEntropy", "exact"} <= set(
        package.__all__
    )


def test_the_integer_noise_mechanisms_are_known_by_name():
    assert {"laplace", "gaussian"} <= set(package.MECHANISMS)
    with pytest.raises(ValueError, match="mechanism must be one of"):
        package.MECHANISMS["staircase"]


@pytest.mark.parametrize("name", [package.__name__, *MODULES])
def test_examples_are_true(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0
