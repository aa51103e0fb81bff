"""Between integer pixels and the continuous values that a flow takes.

A pixel v of b bits is the bin [v, v + 1) / 2**b - 1/2. Training spreads v evenly over its bin (uniform
dequantisation: Theis, van den Oord and Bethge 2016, "A note on the evaluation of generative models");
encoding puts it at the bin's centre, so that half a bin of numerical error either way changes nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from veilray.flows.base import Images

__all__ = ["as_tensor", "bin_centres", "dequantise", "integer_dtype", "to_integers"]


def integer_dtype(bits: int) -> torch.dtype:
    """Return the dtype of pixels of `bits` bits: uint8 up to 8, uint16 above."""
    return torch.uint8 if bits <= 8 else torch.uint16


def as_tensor(images: Images, shape: tuple[int, int, int], bits: int) -> Tensor:
    """Check integer images `(n, *shape)` and return them as a tensor of `integer_dtype(bits)`.

    Raises:
        ValueError: for another shape or dtype, or a value of 2**bits or more.
    """
    if isinstance(images, np.ndarray) and not images.flags.writeable:
        images = images.copy()  # a read-only memory map cannot be shared with torch
    tensor = torch.as_tensor(images)
    expected = integer_dtype(bits)
    if tensor.ndim != 4 or tuple(tensor.shape[1:]) != shape:
        raise ValueError(f"images must be (n, {', '.join(map(str, shape))}), got {tuple(tensor.shape)}")
    if tensor.dtype != expected:
        raise ValueError(f"images of {bits} bits must be {expected}, got {tensor.dtype}")
    if bits not in (8, 16) and tensor.numel() and (top := int(tensor.to(torch.int32).max())) >= 2**bits:
        raise ValueError(f"pixels of {bits} bits must be below {2**bits}, got {top}")
    return tensor


def bin_centres(images: Tensor, bits: int, dtype: torch.dtype) -> Tensor:
    """Return (v + 1/2) / 2**bits - 1/2, in (-1/2, 1/2)."""
    return ((images.to(dtype) + 0.5) / float(2**bits)).sub(0.5)


def dequantise(images: Tensor, bits: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Return (v + u) / 2**bits - 1/2 with u uniform on [0, 1) from `generator`.

    The draw is made on the CPU, so that every device trains on the same values.
    """
    noise = torch.rand(images.shape, dtype=dtype, generator=generator).to(images.device)
    return ((images.to(dtype) + noise) / float(2**bits)).sub(0.5)


def to_integers(x: Tensor, bits: int) -> Tensor:
    """Return the pixel whose bin holds x, clamped to [0, 2**bits - 1]; mid grey where x is not a number."""
    levels = float(2**bits)
    pixels = ((x + 0.5) * levels).nan_to_num(nan=levels / 2, posinf=levels, neginf=0.0)
    return pixels.floor().clamp(0, levels - 1).to(integer_dtype(bits))
