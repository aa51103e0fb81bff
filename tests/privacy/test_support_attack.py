"""The attack on floating-point noise: list every output the generator can give, and look which input it fits.

The yardstick that breaks `z + Laplace` in float32 outright (Mironov 2012, "On significance of the least significant
bits for differential privacy") must break the naive sampler here, and find nothing in ours.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from veilray.privacy import MECHANISMS, Claim, SystemEntropy


def every_naive_noise(fused: bool = True) -> np.ndarray:
    """All values of torch.distributions.Laplace(0, 1) in float32: its uniform has 2^24 of them.

    `fused`: multiply and add rounded once, as processors with that instruction do.
    """
    info = torch.finfo(torch.float32)
    low, width = np.float32(info.eps - 1), np.float32(1) - np.float32(info.eps - 1)
    unit = torch.arange(2**24, dtype=torch.float64 if fused else torch.float32) / 2**24
    uniform = (unit * float(width) + float(low)).float()
    return (-uniform.sign() * torch.log1p(-uniform.abs().clamp(min=info.tiny))).numpy()


def share_impossible(released: np.ndarray, possible: np.ndarray) -> float:
    possible = np.sort(possible)
    place = np.minimum(np.searchsorted(possible, released), len(possible) - 1)
    return float((possible[place] != released).mean())


def test_the_naive_sampler_is_broken_outright():
    noise = every_naive_noise()
    generator = torch.Generator().manual_seed(1)
    picked = noise[torch.randint(2**24, (100_000,), generator=generator).numpy()]
    released = np.float32(0) + picked
    assert share_impossible(released, np.float32(0) + noise) == 0
    assert share_impossible(released, np.float32(1) + noise) > 0.7


def test_the_list_of_naive_noise_is_the_generators_own():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        drawn = torch.distributions.Laplace(0.0, 1.0).sample((2000,)).numpy()
    assert min(share_impossible(drawn, every_naive_noise(fused)) for fused in (True, False)) == 0


@pytest.mark.parametrize("name", ["laplace", "gaussian"])
@pytest.mark.parametrize("epsilon", ["0.1", "2", "30"])
def test_every_output_of_ours_is_possible_under_every_other_input(name, epsilon):
    delta = "1e-6" if name == "gaussian" else 0
    mechanism = MECHANISMS[name].calibrate(Claim.of(epsilon, delta, "element"), 100)
    ends = np.array([[-1e9], [-3.0], [0.0], [1e-3], [1.0], [3.0]]) * np.ones(100)
    for latent in ends:
        released = mechanism.release(np.tile(latent, (300, 1)), SystemEntropy())
        for other in ends:
            assert np.isfinite(mechanism.log_likelihood(released, other[None])).all()


def test_the_low_digits_of_ours_say_nothing():
    # Where float noise leaks: the last bits of an output, given an input off the noise's own lattice.
    mechanism = MECHANISMS["laplace"].calibrate(Claim.of(1, unit="element"), 1000)
    counts = []
    for latent in (0.0, 1.0, 1 / 3):
        released = mechanism.release(np.full((200, 1000), latent), SystemEntropy())
        counts.append(np.bincount((released * 256 - 0.5).astype(np.int64).reshape(-1) & 7, minlength=8))
    table = np.array(counts, float)
    expected = table.sum() / table.size
    assert ((table - expected) ** 2 / expected).sum() < 100  # 23 degrees of freedom


def test_both_ends_of_the_input_have_one_support_as_integers():
    for epsilon in (Fraction(1, 100), Fraction(1), Fraction(50), Fraction(2000)):
        mechanism = MECHANISMS["laplace"].calibrate(Claim(epsilon, unit="element"), 3)
        noise = mechanism._noise
        farthest = noise.limit - 1 + noise.clip  # N needed at the far end from the other end of the box
        assert farthest < 2**noise.digits
        assert all(0 < threshold < 2**noise.precision for threshold in noise.thresholds)
