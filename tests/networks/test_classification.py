"""The held-out tenth, the batches, and logits in parts."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from veilray.networks.classification import held_out_tenth, logits_of, shuffled_parts


@given(st.lists(st.integers(0, 3), min_size=20, max_size=300), st.integers(0, 99))
def test_a_tenth_is_held_out_of_each_class_in_proportion(labels: list[int], seed: int) -> None:
    given_labels = np.array(labels, np.int64)
    held = held_out_tenth(given_labels, np.random.default_rng(seed))
    assert abs(held.sum() - len(labels) / 10) <= 1
    for level in np.unique(given_labels):
        of = held[given_labels == level]
        assert abs(of.sum() - len(of) / 10) <= 1
        assert len(of) == 1 or not of.all()


@given(st.integers(1, 80), st.integers(1, 9))
def test_batches_hold_every_row_once(rows: int, parts: int) -> None:
    found = shuffled_parts(torch.arange(rows), parts, np.random.default_rng(0))
    assert torch.equal(torch.cat(found).sort().values, torch.arange(rows))
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1


def test_logits_come_row_by_row_in_evaluation_mode() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).train()
    inputs, told = torch.randn(1300, 3), list[tuple[int, int]]()
    found = logits_of(network, inputs, lambda part: part * 2, lambda done, total: told.append((done, total)))
    assert not network.training
    assert not found.requires_grad
    assert torch.allclose(found, network(inputs * 2), atol=1e-6)
    assert told == [(512, 1300), (1024, 1300), (1300, 1300)]
