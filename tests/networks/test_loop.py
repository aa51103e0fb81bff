"""The training loop: what a step does, which epoch is kept, when it stops."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from veilray.networks import loop as loops
from veilray.networks.loop import Epoch, Loop, cosine, one_cycle, set_rate, shuffled_rows


def line(start: float = 0.0) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, start)
    return network


def towards_one(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda batch: (network(batch) - 1).square()[:, 0]


def loop(network: nn.Module, rate: float = 0.1, **options: Any) -> Loop[Tensor]:
    chosen = {"epochs": 3, "steps": 4, "loss_of": towards_one(network), **options}
    optimiser = torch.optim.SGD(network.parameters(), lr=rate)
    return Loop(network, optimiser, lambda _: itertools.repeat(torch.ones(2, 1), chosen["steps"]), **chosen)


def test_every_step_lowers_the_loss_and_is_counted() -> None:
    network, seen = line(), list[int]()
    run = loop(network, on_step=lambda: seen.append(run.step))
    assert run.run() == "epochs"
    assert seen == list(range(1, 13))
    # One step of gradient descent on (w - 1)^2 takes w - 1 to (1 - 2 rate)(w - 1).
    assert network.weight.item() == pytest.approx(1 - 0.8**12)


def test_an_epoch_reports_the_mean_loss_of_its_batches() -> None:
    epochs = list[Epoch]()
    loop(line(), on_epoch=epochs.append).run()
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert epochs[0].loss == pytest.approx(np.mean([0.8 ** (2 * step) for step in range(4)]))
    assert epochs[0].figure is None


def test_the_gradient_is_clipped() -> None:
    network = line(start=101)
    loop(network, epochs=1, steps=1, clip_norm=1.0).run()
    assert network.weight.item() == pytest.approx(100.9)


def test_the_best_epoch_comes_back_with_its_running_statistics() -> None:
    """Figures 3, 1, 2: the second epoch is the best."""
    network = nn.Sequential(nn.BatchNorm1d(1), line())
    figures, states = iter([3.0, 1.0, 2.0]), list[dict[str, Tensor]]()
    run = loop(
        network,
        validate=lambda: next(figures),
        on_epoch=lambda _: states.append({name: tensor.clone() for name, tensor in network.state_dict().items()}),
    )
    run.run()
    run.restore_best()
    assert (run.state.best, run.state.best_epoch) == (1.0, 2)
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in network.state_dict().items())
    assert not torch.equal(states[1]["0.running_mean"], states[2]["0.running_mean"])


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    figures = itertools.chain([2.0, 1.0], itertools.repeat(5.0))
    run = loop(line(), epochs=50, validate=lambda: next(figures), patience=3)
    assert run.run() == "patience"
    assert run.state.epoch == 5


def test_the_average_is_validated_and_the_weights_go_on() -> None:
    network, seen = line(), list[float]()

    def validate() -> float:
        seen.append(network.weight.item())
        return 1.0

    run = loop(network, epochs=1, steps=2, ema_decay=0.5, validate=validate)
    run.run()
    # Weights 0.2 and 0.36; decays 1/10 and 2/11, as the average is young.
    average = 0.9 * 0.2
    assert seen == [pytest.approx(average + (0.36 - average) * 9 / 11)]
    assert network.weight.item() == pytest.approx(0.36)
    run.restore_best()
    assert network.weight.item() == pytest.approx(seen[0])


def test_an_average_counts_the_batches_that_its_statistics_are_of() -> None:
    network = nn.Sequential(nn.BatchNorm1d(1), line())
    run = loop(network, ema_decay=0.9, validate=lambda: 0.0)
    run.run()
    assert dict(zip(run.names, run.average, strict=True))["0.num_batches_tracked"].item() == 12


def test_an_average_begins_anew_where_the_first_batch_sets_weights() -> None:
    network = line()
    run = loop(network, ema_decay=0.9)
    nn.init.constant_(network.weight, 7.0)
    run.restart_average()
    assert run.average[0].item() == 7.0


def test_time_ends_a_run_within_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 1.0)
    monkeypatch.setattr(loops.time, "monotonic", lambda: next(clock))
    run = loop(line(), epochs=2, steps=1000, max_minutes=1.0)
    assert run.run() == "time"
    assert 0 < run.step < 60
    assert run.state.epoch == 0


def test_a_schedule_is_told_the_step_and_the_share_that_is_done() -> None:
    told = list[tuple[int, float]]()
    loop(line(), epochs=2, steps=2, schedule=lambda step, done: told.append((step, done))).run()
    assert told == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]


@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_loss_that_is_not_finite_stops_with_advice(part: str) -> None:
    network = line()
    options: dict[str, Any] = {"advice": "sleep over it"}
    if part == "training":
        options["loss_of"] = lambda batch: network(batch) * float("inf")
    else:
        options["validate"] = lambda: float("nan")
    with pytest.raises(ValueError, match=f"the {part} loss must be finite, got nan .*epoch 1.*: sleep over it"):
        loop(network, **options).run()


def test_a_batch_is_drawn_after_the_loss_of_the_one_before() -> None:
    """Both may draw from one generator; a resumed run must draw as one that was not stopped."""
    network, order = line(), list[str]()

    def batches(epoch: int) -> Iterator[Tensor]:
        for _ in range(2):
            order.append(f"batch of {epoch}")
            yield torch.ones(1, 1)

    def loss(batch: Tensor) -> Tensor:
        order.append("loss")
        return towards_one(network)(batch)

    Loop(network, torch.optim.SGD(network.parameters()), batches, loss, epochs=2, steps=2).run()
    assert order == [*["batch of 0", "loss"] * 2, *["batch of 1", "loss"] * 2]


def rates(schedule: Callable[[int, float], None], optimiser: torch.optim.Optimizer, steps: int) -> list[float]:
    found = []
    for step in range(steps):
        schedule(step, step / steps)
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
    return found


def test_a_cosine_rises_over_its_warm_up_and_falls_to_nothing() -> None:
    optimiser = torch.optim.SGD(line().parameters(), lr=9.0)
    found = rates(cosine(optimiser, 1.0, warmup=10), optimiser, 100)
    assert found[:10] == sorted(found[:10])
    assert found[10:] == sorted(found[10:], reverse=True)
    assert max(found) <= 1.0
    assert found[-1] < 0.001


def test_one_cycle_rises_and_falls_and_reaches_its_highest_rate() -> None:
    optimiser = torch.optim.SGD(line().parameters(), lr=9.0, momentum=0.9)
    found = rates(one_cycle(optimiser, 1.0, 100), optimiser, 100)
    assert max(found) == pytest.approx(1.0, abs=0.01)
    assert found[0] < 0.05
    assert found[-1] < 0.001


def test_all_groups_get_the_rate() -> None:
    optimiser = torch.optim.SGD([{"params": line().parameters()}, {"params": line().parameters()}], lr=1.0)
    set_rate(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 0.5]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_rows_are_drawn_once_an_epoch_in_whole_batches(items: int, batch: int, seed: int, epoch: int) -> None:
    found = list(shuffled_rows(items, batch, seed, epoch))
    assert len(found) == items // batch
    assert all(len(rows) == batch and (np.diff(rows) > 0).all() for rows in found)
    rows = np.concatenate([*found, []])
    assert len(np.unique(rows)) == len(rows)
    assert np.isin(rows, np.arange(items)).all()
