"""The invertible layers of a multi-scale flow, one a file."""

from veilray.flows.layers.actnorm import ActNorm
from veilray.flows.layers.coupling import AffineCoupling, CouplingNet, Film, Given, bounded_scale
from veilray.flows.layers.invertible_conv import InvertibleConv
from veilray.flows.layers.split import join, leave
from veilray.flows.layers.squeeze import Squeeze
from veilray.flows.layers.step import Step

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "CouplingNet",
    "Film",
    "Given",
    "InvertibleConv",
    "Squeeze",
    "Step",
    "bounded_scale",
    "join",
    "leave",
]
