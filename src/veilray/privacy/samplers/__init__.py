"""Noise that floating point cannot betray: integers whose law is proved, drawn from `Entropy` alone."""

from veilray.privacy.samplers.discrete_laplace import DiscreteLaplace
from veilray.privacy.samplers.rounded_gaussian import RoundedGaussian

__all__ = ["DiscreteLaplace", "RoundedGaussian"]
