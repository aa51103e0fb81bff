"""Run a step of flow in few passes over memory, with what can be computed once kept.

ActNorm is a scale and a shift a channel, so it folds into the convolution beside it: the one before the 1x1
convolution into that, the two inside the coupling net into the convolutions before them. Training folds on
every call, differentiably; encoding and decoding fold once, and again only when a parameter has changed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from veilray.flows.layers.actnorm import ActNorm
from veilray.flows.layers.coupling import INPUT_BOUND, AffineCoupling, Given
from veilray.flows.layers.step import Step

__all__ = ["FoldCache", "Folded", "decode_step", "encode_step", "fold"]


class Folded(NamedTuple):
    """The matrices of one step with every ActNorm folded in; `unmix` is None where only y = f(x) is needed."""

    mix: Tensor
    mix_bias: Tensor
    log_volume: Tensor
    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor
    last: Tensor
    last_bias: Tensor
    unmix: Tensor | None = None
    unmix_bias: Tensor | None = None


def _fold_norm(weight: Tensor, norm: ActNorm) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution followed by the ActNorm."""
    scale = norm.log_scale.exp()
    return weight * scale[:, None, None, None], norm.bias * scale


def fold(step: Step, *, inverse: bool = False) -> Folded:
    """Fold the step's ActNorms; gradients reach every parameter.

    Args:
        step: the step of flow.
        inverse: also invert the folded 1x1 convolution. The matrix inverted is the one that encoding uses,
            rounded to the model's dtype, and the inversion is in float64.
    """
    dtype = step.actnorm.bias.dtype
    mix = step.mix.weight() * step.actnorm.log_scale.double().exp()
    mix_bias = mix @ step.actnorm.bias.double()
    net = step.coupling.net
    first, first_bias = _fold_norm(net.first.weight, net.first_norm)
    second, second_bias = _fold_norm(net.second.weight, net.second_norm)
    assert net.last.bias is not None
    folded = Folded(
        mix=mix.to(dtype)[:, :, None, None],
        mix_bias=mix_bias.to(dtype),
        log_volume=step.actnorm.log_scale.sum() + step.mix.log_diagonal().sum(),
        first=first,
        first_bias=first_bias,
        second=second,
        second_bias=second_bias,
        last=net.last.weight,
        last_bias=net.last.bias,
    )
    if not inverse:
        return folded
    unmix = torch.linalg.inv(folded.mix[:, :, 0, 0].double())
    unmix_bias = -(unmix @ folded.mix_bias.double())
    return folded._replace(unmix=unmix.to(dtype)[:, :, None, None], unmix_bias=unmix_bias.to(dtype))


def _shift_and_scale(f: Folded, kept: Tensor, coupling: AffineCoupling, given: Given | None) -> tuple[Tensor, Tensor]:
    # ReLU in place: what it overwrites is needed by nobody else, and a second copy costs a tenth. Neither the
    # convolution nor the film keeps its output for the backward pass, so derivatives of any order are right.
    inputs = kept.clamp(-INPUT_BOUND, INPUT_BOUND)
    if given is None:
        hidden = F.conv2d(inputs, f.first, f.first_bias, padding=1).relu_()
        hidden = F.conv2d(hidden, f.second, f.second_bias).relu_()
    else:
        inputs = torch.cat((inputs, given.maps), dim=1)
        hidden = given.first(F.conv2d(inputs, f.first, f.first_bias, padding=1)).relu_()
        hidden = given.second(F.conv2d(hidden, f.second, f.second_bias)).relu_()
    shift, raw = F.conv2d(hidden, f.last, f.last_bias, padding=1).chunk(2, dim=1)
    return shift, coupling.scale(raw)


def encode_step(
    f: Folded, x: Tensor, coupling: AffineCoupling, given: Given | None = None, *, ladj: bool
) -> tuple[Tensor, Tensor | None]:
    """Return y = f(x) under what is given, and the log-determinant `(n,)` when asked for.

    The matrices are those of `f`; the coupling says where to split, and what its net's output means.
    """
    mixed = F.conv2d(x, f.mix, f.mix_bias)
    a, b = mixed[:, : coupling.kept], mixed[:, coupling.kept :]
    shift, scale = _shift_and_scale(f, a, coupling, given)
    y = torch.cat((a, torch.addcmul(shift, b, scale)), dim=1)
    if not ladj:
        return y, None
    return y, coupling.log_volume(scale) + f.log_volume * (x.shape[2] * x.shape[3])


def decode_step(f: Folded, y: Tensor, coupling: AffineCoupling, given: Given | None = None) -> Tensor:
    """Return the x with f(x) = y under what is given; `f` must hold the inverse."""
    assert f.unmix is not None
    a, b = y[:, : coupling.kept], y[:, coupling.kept :]
    shift, scale = _shift_and_scale(f, a, coupling, given)
    return F.conv2d(torch.cat((a, (b - shift) / scale), dim=1), f.unmix, f.unmix_bias)


class FoldCache:
    """The folded form of each step, kept until a parameter or buffer of that step changes.

    What was folded is compared with what is there now, value by value: version counters would be cheaper, but
    the fused Adam of torch 2.13 and edits through `.data` do not raise them.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[list[Tensor], Folded]] = {}

    def get(self, step: Step) -> Folded:
        """Return the folded step with its inverse, detached from autograd; fold anew if anything changed."""
        tensors = [*step.parameters(), *step.buffers()]
        entry = self._entries.get(id(step))
        if entry is None or not _equal(entry[0], tensors):
            # Some parts are the parameters themselves: keep copies, which no later edit reaches.
            with torch.no_grad():
                parts = [part.clone() for part in fold(step, inverse=True) if part is not None]
                entry = [tensor.detach().clone() for tensor in tensors], Folded(*parts)
            self._entries[id(step)] = entry
        return entry[1]

    def __deepcopy__(self, memo: object) -> FoldCache:
        return FoldCache()

    def __getstate__(self) -> dict[str, object]:
        return {"_entries": {}}


def _equal(kept: list[Tensor], current: list[Tensor]) -> bool:
    return len(kept) == len(current) and all(
        old.dtype == new.dtype and old.device == new.device and torch.equal(old, new)
        for old, new in zip(kept, current, strict=True)
    )
