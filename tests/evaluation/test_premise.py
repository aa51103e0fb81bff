"""The premise: measured right where the answer is known, and told apart where it is not true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from veilray.evaluation.premise import Premise, plot, premise
from veilray.flows import Glow, GlowConfig, Latent


class Known(Glow):
    """A flow whose latent the test hands in."""

    def __init__(self, latent: np.ndarray) -> None:
        super().__init__(GlowConfig(8, 1, 8, 2, 1, 4))
        self.latent = torch.as_tensor(latent, dtype=torch.float64)

    def encode(self, images: object) -> Latent:
        del images
        return Latent.from_flat(self.latent, self.config.latent_shapes)


def smooth_images(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    slope = rng.uniform(-1, 1, (n, 1, 1, 1)) * np.arange(8) + rng.uniform(-1, 1, (n, 1, 1, 1)) * np.arange(8)[:, None]
    return np.clip(128 + 8 * slope + rng.normal(0, 2, (n, 1, 8, 8)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def normal() -> Premise:
    return premise(Known(np.random.default_rng(1).standard_normal((400, 64))), smooth_images(400))


def test_independent_normals_pass(normal: Premise) -> None:
    assert normal.passing >= 0.93
    assert normal.pooled_statistic < 0.02
    assert normal.latent.horizontal == pytest.approx(normal.correlation_floor, rel=0.2)
    assert normal.latent.vertical == pytest.approx(normal.correlation_floor, rel=0.2)
    assert normal.latent.random == pytest.approx(normal.correlation_floor, rel=0.1)
    assert normal.pixels.horizontal is not None
    assert normal.pixels.horizontal > 0.8
    for level in normal.levels:
        assert abs(level.mean) < 0.03
        assert abs(level.deviation - 1) < 0.03
        assert abs(level.kurtosis) < 0.15


def test_distances_are_those_of_scipy(normal: Premise) -> None:
    flat = np.random.default_rng(1).standard_normal((400, 64))
    tests = [stats.kstest(column, "norm") for column in flat.T]
    assert normal.mean_statistic == pytest.approx(np.mean([test.statistic for test in tests]), abs=1e-12)
    assert normal.passing == pytest.approx(np.mean([test.pvalue > 0.01 for test in tests]), abs=1e-12)
    assert normal.pooled_statistic == pytest.approx(stats.kstest(flat.ravel(), "norm").statistic, abs=1e-12)


def test_wrong_scale_and_heavy_tails_fail() -> None:
    rng = np.random.default_rng(2)
    wide = premise(Known(1.5 * rng.standard_normal((400, 64))), smooth_images(400))
    assert wide.passing < 0.2
    assert wide.levels[0].deviation == pytest.approx(1.5, rel=0.03)
    heavy = premise(Known(rng.laplace(0, 2**-0.5, (400, 64))), smooth_images(400))
    assert heavy.levels[0].kurtosis > 2


def test_dependent_elements_show_in_the_correlations() -> None:
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((400, 1)) * 0.8 + 0.6 * rng.standard_normal((400, 64))
    result = premise(Known(shared), smooth_images(400))
    assert result.passing > 0.9
    assert result.latent.random == pytest.approx(0.64, abs=0.05)


def test_constant_pixels_are_left_out() -> None:
    images = smooth_images(40)
    images[:, :, 0] = 0
    result = premise(Known(np.random.default_rng(0).standard_normal((40, 64))), images)
    assert result.pixels.horizontal is not None
    assert np.isfinite(result.pixels.horizontal)


def test_a_real_flow_is_measured_level_by_level() -> None:
    flow = Glow(GlowConfig(8, 1, 8, 3, 2, 8))
    result = premise(flow, smooth_images(32))
    assert [level.elements for level in result.levels] == [32, 16, 16]
    assert result.dimension == 64


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="images must be 20 or more, got 3"):
        premise(Known(np.zeros((3, 64))), smooth_images(3))


def test_json_holds_every_figure(normal: Premise) -> None:
    content = json.loads(normal.to_json())
    assert content["images"] == 400
    assert content["latent"]["random"] == normal.latent.random
    assert len(content["levels"]) == 2


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_writes_a_picture(normal: Premise, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"premise.{suffix}"
    plot(normal, path)
    assert path.stat().st_size > 10_000
