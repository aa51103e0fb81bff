"""The latent: levels and flat vectors are two views of the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from veilray.flows import Latent

SHAPES = st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=1, max_size=4)


@given(shapes=SHAPES, n=st.integers(0, 4), double=st.booleans(), channels_last=st.booleans())
def test_flattening_loses_nothing(
    shapes: list[tuple[int, int, int]], n: int, double: bool, channels_last: bool
) -> None:
    dtype = torch.float64 if double else torch.float32
    levels = tuple(torch.randn(n, *shape, dtype=dtype) for shape in shapes)
    if channels_last:
        levels = tuple(level.contiguous(memory_format=torch.channels_last) for level in levels)
    latent = Latent(levels)
    flat = latent.flat()
    assert flat.shape == (n, latent.dimension)
    back = Latent.from_flat(flat, latent.shapes)
    assert back.shapes == tuple(shapes)
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(levels, back.levels, strict=True))
    array = Latent.from_flat(latent.numpy(), latent.shapes).flat()
    assert torch.equal(array.to(dtype), flat)
    for part, level in zip(latent.slices, levels, strict=True):
        assert torch.equal(flat[:, part], level.reshape(n, level[0].numel() if n else flat[:, part].shape[1]))
    assert len(latent) == n


def test_rows_are_sliced_in_every_level() -> None:
    latent = Latent.from_flat(torch.arange(30.0).reshape(3, 10), [(1, 2, 3), (4, 1, 1)])
    assert torch.equal(latent[1:].flat(), latent.flat()[1:])


def test_numpy_is_float64() -> None:
    assert Latent((torch.zeros(1, 1, 1, 1),)).numpy().dtype == np.float64


def test_impossible_latents_are_refused() -> None:
    with pytest.raises(ValueError, match="levels must be one tensor or more, got none"):
        Latent(())
    with pytest.raises(ValueError, match=r"a level must be \(n, channels, height, width\), got \(2, 3\)"):
        Latent((torch.zeros(2, 3),))
    with pytest.raises(ValueError, match=r"all levels must be 2 rows of torch.float32, got 3 of"):
        Latent((torch.zeros(2, 1, 1, 1), torch.zeros(3, 1, 1, 1)))
    with pytest.raises(ValueError, match=r"flat must be \(n, 4\), got \(2, 5\)"):
        Latent.from_flat(torch.zeros(2, 5), [(1, 2, 2)])
