"""The invertible layers of a multi-scale flow, one a file."""

from veilray.flows.layers.actnorm import ActNorm
from veilray.flows.layers.coupling import (
    COUPLINGS,
    AffineCoupling,
    CouplingNet,
    Film,
    GinCoupling,
    Given,
    bounded_scale,
)
from veilray.flows.layers.invertible_conv import InvertibleConv
from veilray.flows.layers.split import join, leave
from veilray.flows.layers.squeeze import DOWNSAMPLINGS, ReshapingSqueeze, Squeeze
from veilray.flows.layers.step import Step

__all__ = [
    "COUPLINGS",
    "DOWNSAMPLINGS",
    "ActNorm",
    "AffineCoupling",
    "CouplingNet",
    "Film",
    "GinCoupling",
    "Given",
    "InvertibleConv",
    "ReshapingSqueeze",
    "Squeeze",
    "Step",
    "bounded_scale",
    "join",
    "leave",
]
