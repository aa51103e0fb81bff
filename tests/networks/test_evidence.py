"""The two terms of the evidence bound, against closed forms."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from veilray.networks.evidence import drawn, evidence_terms


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_divergence_is_that_of_normal_laws() -> None:
    mean, log_variance = torch.randn(5, 3, generator=seed()), torch.randn(5, 3, generator=seed())
    pictures = torch.zeros(5, 1, 2, 2)
    _, divergence = evidence_terms(pictures, (mean, log_variance), lambda codes: torch.zeros(5, 1, 2, 2))
    law = Normal(mean, (0.5 * log_variance).exp())
    assert torch.allclose(divergence, kl_divergence(law, Normal(0.0, 1.0)).sum(1), atol=1e-5)


def test_the_error_is_squared_and_summed_over_each_picture() -> None:
    codes = torch.zeros(2, 1), torch.full((2, 1), -100.0)
    error, _ = evidence_terms(torch.full((2, 3, 2, 2), 2.0), codes, lambda drawn: torch.zeros(2, 3, 2, 2))
    assert error.tolist() == [48.0, 48.0]


def test_a_draw_has_the_law_that_it_is_drawn_from() -> None:
    rows = drawn(torch.full((20_000, 1), 3.0), torch.full((20_000, 1), 2.0).log() * 2, seed())
    assert abs(float(rows.mean()) - 3) < 0.05
    assert abs(float(rows.std()) - 2) < 0.05
