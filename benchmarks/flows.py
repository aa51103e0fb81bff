"""Train, encode and decode the same Glow with veilray and with four other libraries.

    python benchmarks/flows.py [--rounds 7] [--json flows.json]

Every library gets L = 3 levels of K = 8 steps on 32 x 32 images, batch 32, float32, and coupling nets of width
128: conv 3x3 - ReLU - conv 1x1 - ReLU - conv 3x3 (zero at the start). What it calls a step:

* veilray: ActNorm, LU 1x1 convolution, affine coupling with the bounded scale; ActNorms in the net too.
* normflows: `GlowBlock(split_mode="channel", scale=True, use_lu=True)`; its net has the same three
  convolutions, without ActNorm (`net_actnorm=False`), LeakyReLU(0).
* FrEIA: `GLOWCouplingBlock` (which moves both halves: two nets of 0.6 of the width each, so that weights and
  multiplications are about as many) and `PermuteRandom`, with `ActNorm`; `HaarDownsampling` for the squeeze.
* nflows: `ActNorm`, `OneByOneConvolution` (LU), `AffineCouplingTransform` over the same net.
* zuko: it has no images' Glow; its `GeneralCouplingTransform` is for vectors. The step is put together from its
  own parts, `LULinearTransform` over the channels and `MonotonicAffineTransform`, with the same net.

One round times every library in turn; the ratio of a round is peer / veilray, and the table gives the median
over rounds. Only ratios of one run mean anything: the machine's other load differs from run to run. The process
is set up as the command line does it (`keep_freed_memory`), which helps every library alike.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from veilray.flows import Glow, GlowConfig, keep_freed_memory

LEVELS, STEPS, WIDTH, SIZE, BATCH = 3, 8, 128, 32, 32
WORK = ("train", "encode", "decode", "encode + decode")


@dataclass
class Contender:
    """A library's flow: one training step, and both directions without autograd."""

    train: Callable[[Tensor], object]
    encode: Callable[[Tensor], Any]
    decode: Callable[[Any], Tensor]
    parameters: int


def net(inputs: int, outputs: int, width: int = WIDTH) -> nn.Sequential:
    """Return the coupling net that every library gets, the last convolution at zero."""
    last = nn.Conv2d(width, outputs, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), last)


def stepper(module: nn.Module, loss: Callable[[Tensor], Tensor], *, fused: bool) -> Callable[[Tensor], object]:
    """Return one step of Adam on the mean of the loss."""
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4, fused=fused)

    def step(x: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(x).mean().backward()
        optimiser.step()

    return step


def size_of(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def gaussian(parts: list[Tensor], ladj: Tensor) -> Tensor:
    """Return the negative log-likelihood a row under standard normals."""
    total = -ladj
    for part in parts:
        total = total + 0.5 * part.flatten(1).square().sum(dim=1) + 0.5 * math.log(2 * math.pi) * part[0].numel()
    return total


def veilray_glow(channels: int) -> Contender:
    """Build ours."""
    flow = Glow(GlowConfig(SIZE, channels, 8, LEVELS, STEPS, WIDTH))
    flow.initialise(torch.rand(BATCH, channels, SIZE, SIZE) - 0.5)
    return Contender(stepper(flow, flow.loss, fused=True), flow, flow.inverse, size_of(flow))


def normflows_glow(channels: int) -> Contender:
    """Build normflows' MultiscaleFlow."""
    import normflows as nf

    bases, merges, flows = [], [], []
    for level in range(LEVELS):
        width = channels * 2 ** (LEVELS + 1 - level)
        blocks = [
            nf.flows.GlowBlock(width, WIDTH, split_mode="channel", scale=True, use_lu=True, net_actnorm=False)
            for _ in range(STEPS)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        if level:
            merges.append(nf.flows.Merge())
            shape = (width // 2, SIZE // 2 ** (LEVELS - level), SIZE // 2 ** (LEVELS - level))
        else:
            shape = (width, SIZE // 2**LEVELS, SIZE // 2**LEVELS)
        bases.append(nf.distributions.DiagGaussian(shape, trainable=False))
    model = nf.MultiscaleFlow(bases, flows, merges)
    model.log_prob(torch.rand(BATCH, channels, SIZE, SIZE) - 0.5, None)
    return Contender(
        stepper(model, lambda x: -model.log_prob(x, None), fused=False),
        lambda x: model.inverse_and_log_det(x)[0],
        lambda z: model.forward_and_log_det(z)[0],
        size_of(model),
    )


def freia_glow(channels: int) -> Contender:
    """Build a FrEIA graph."""
    import FrEIA.framework as ff
    import FrEIA.modules as fm

    nodes: list[Any] = [ff.InputNode(channels, SIZE, SIZE)]
    outputs: list[Any] = []
    for level in range(LEVELS):
        nodes.append(ff.Node(nodes[-1], fm.HaarDownsampling, {}))
        for step in range(STEPS):
            nodes.append(ff.Node(nodes[-1], fm.ActNorm, {}))
            nodes.append(ff.Node(nodes[-1], fm.PermuteRandom, {"seed": step}))
            half = {"subnet_constructor": lambda c_in, c_out: net(c_in, c_out, round(WIDTH * 0.6))}
            nodes.append(ff.Node(nodes[-1], fm.GLOWCouplingBlock, {**half, "clamp": 2.0}))
        if level < LEVELS - 1:
            now = channels * 2 ** (level + 2)
            split = ff.Node(nodes[-1], fm.Split, {"section_sizes": [now // 2, now // 2], "dim": 0})
            nodes.append(split)
            outputs.append(ff.OutputNode(split.out1))
            nodes.append(ff.Node(split.out0, fm.Reshape, {"output_dims": (now // 2, *[SIZE // 2 ** (level + 1)] * 2)}))
    outputs.append(ff.OutputNode(nodes[-1]))
    model = ff.GraphINN([*nodes, *outputs])
    model(torch.rand(BATCH, channels, SIZE, SIZE) - 0.5)

    def loss(x: Tensor) -> Tensor:
        parts, ladj = model(x)
        return gaussian(list(parts), ladj)

    return Contender(
        stepper(model, loss, fused=False),
        lambda x: model(x, jac=False)[0],
        lambda z: model(z, rev=True, jac=False)[0],
        size_of(model),
    )


def nflows_glow(channels: int) -> Contender:
    """Build an nflows MultiscaleCompositeTransform."""
    from nflows import transforms as nt

    class Net(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.body = net(inputs, outputs)

        def forward(self, x: Tensor, context: object = None) -> Tensor:
            del context
            return self.body(x)

    multiscale = nt.MultiscaleCompositeTransform(num_transforms=LEVELS)
    shape: Any = (channels, SIZE, SIZE)
    for _ in range(LEVELS):
        now = shape[0] * 4
        mask = torch.arange(now) < now // 2
        steps = []
        for _step in range(STEPS):
            steps += [
                nt.ActNorm(now),
                nt.OneByOneConvolution(now),
                nt.AffineCouplingTransform(mask=(~mask).int(), transform_net_create_fn=Net),
            ]
        level = nt.CompositeTransform([nt.SqueezeTransform(), *steps])
        shape = multiscale.add_transform(level, (now, shape[1] // 2, shape[2] // 2))
    multiscale(torch.rand(BATCH, channels, SIZE, SIZE) - 0.5)

    def loss(x: Tensor) -> Tensor:
        z, ladj = multiscale(x)
        return gaussian([z], ladj)

    def in_mode(call: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            multiscale.eval()  # its ActNorm and its cached inverse need evaluation mode
            result = call(x)[0]
            multiscale.train()
            return result

        return run

    for module in multiscale.modules():
        if hasattr(module, "use_cache"):
            module.use_cache(True)
    return Contender(
        stepper(multiscale, loss, fused=False),
        in_mode(multiscale),
        in_mode(multiscale.inverse),
        size_of(multiscale),
    )


def zuko_glow(channels: int) -> Contender:
    """Put a Glow together from zuko's transforms."""
    import zuko.transforms as zt

    class ZukoStep(nn.Module):
        def __init__(self, now: int) -> None:
            super().__init__()
            self.half = now // 2
            self.lu = nn.Parameter(torch.eye(now) + 0.01 * torch.randn(now, now))
            self.scale, self.bias = nn.Parameter(torch.zeros(now)), nn.Parameter(torch.zeros(now))
            self.net = net(self.half, now)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            pixels = x.shape[2] * x.shape[3]
            norm, mix = zt.MonotonicAffineTransform(self.bias, self.scale), zt.LULinearTransform(self.lu)
            rows = x.permute(0, 2, 3, 1)
            normed, first = norm.call_and_ladj(rows)
            mixed, second = mix.call_and_ladj(normed)
            x = mixed.permute(0, 3, 1, 2)
            a, b = x[:, : self.half], x[:, self.half :]
            y, third = zt.MonotonicAffineTransform(*self.net(a).chunk(2, dim=1)).call_and_ladj(b)
            ladj = first.sum(dim=(1, 2, 3)) + second.reshape(len(x), pixels).sum(dim=1) + third.sum(dim=(1, 2, 3))
            return torch.cat((a, y), dim=1), ladj

        def inverse(self, y: Tensor) -> Tensor:
            a, b = y[:, : self.half], y[:, self.half :]
            b = zt.MonotonicAffineTransform(*self.net(a).chunk(2, dim=1)).inv(b)
            rows = zt.LULinearTransform(self.lu).inv(torch.cat((a, b), dim=1).permute(0, 2, 3, 1))
            return zt.MonotonicAffineTransform(self.bias, self.scale).inv(rows).permute(0, 3, 1, 2)

    levels = nn.ModuleList(
        nn.ModuleList(ZukoStep(channels * 2 ** (level + 2)) for _ in range(STEPS)) for level in range(LEVELS)
    )

    def forward(x: Tensor) -> tuple[list[Tensor], Tensor]:
        parts, total = [], x.new_zeros(len(x))
        for index, level in enumerate(levels):
            x = nn.functional.pixel_unshuffle(x, 2)
            for step in level:
                x, ladj = step(x)
                total = total + ladj
            if index < LEVELS - 1:
                x, out = x.chunk(2, dim=1)
                parts.append(out)
        return [*parts, x], total

    def inverse(parts: list[Tensor]) -> Tensor:
        rest = list(parts)
        x = rest.pop()
        for index, level in enumerate(reversed(levels)):
            if index:
                x = torch.cat((x, rest.pop()), dim=1)
            for step in reversed(level):
                x = step.inverse(x)
            x = nn.functional.pixel_shuffle(x, 2)
        return x

    return Contender(
        stepper(levels, lambda x: gaussian(*forward(x)), fused=False),
        lambda x: forward(x)[0],
        inverse,
        size_of(levels),
    )


CONTENDERS = {
    "veilray": veilray_glow,
    "normflows": normflows_glow,
    "FrEIA": freia_glow,
    "nflows": nflows_glow,
    "zuko": zuko_glow,
}


def seconds(work: Callable[[], object]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def one_round(contender: Contender, x: Tensor) -> dict[str, float]:
    """Time the four works once, each after a call that is not timed."""
    contender.train(x)
    times = {"train": seconds(lambda: contender.train(x))}
    with torch.no_grad():
        z = contender.encode(x)
        contender.decode(z)
        times["encode"] = seconds(lambda: contender.encode(x))
        times["decode"] = seconds(lambda: contender.decode(z))
        times["encode + decode"] = seconds(lambda: contender.decode(contender.encode(x)))
    return times


def measure(channels: int, rounds: int) -> dict[str, Any]:
    """Return images a second and ratios for one number of channels."""
    torch.manual_seed(0)
    x = torch.rand(BATCH, channels, SIZE, SIZE) - 0.5
    contenders: dict[str, Contender] = {}
    for name, make in CONTENDERS.items():
        try:
            contenders[name] = make(channels)
        except ModuleNotFoundError as error:
            print(f"{name} is left out ({error}): pip install 'veilray[peers]'")
    times: dict[str, dict[str, list[float]]] = {name: {work: [] for work in WORK} for name in contenders}
    for index in range(rounds + 1):
        for name, contender in contenders.items():
            for work, taken in one_round(contender, x).items():
                if index:  # the first round warms up
                    times[name][work].append(taken)
    results: dict[str, Any] = {}
    for name, contender in contenders.items():
        with torch.no_grad():
            error = (contender.decode(contender.encode(x)) - x).abs().max().item()
        results[name] = {
            "parameters": contender.parameters,
            "round_trip_error": error,
            "images_per_second": {w: BATCH / statistics.median(times[name][w]) for w in WORK},
            "ratio": {
                w: statistics.median(t / o for t, o in zip(times[name][w], times["veilray"][w], strict=True))
                for w in WORK
            },
        }
    return results


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("flows.json"))
    arguments = parser.parse_args()
    keep_freed_memory()
    report: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "channels": {}}
    for channels in (1, 3):
        results = measure(channels, arguments.rounds)
        report["channels"][channels] = results
        print(f"\n{channels} x {SIZE} x {SIZE}: images a second (times as fast veilray is, same run)\n")
        print("| library | parameters | " + " | ".join(WORK) + " | round trip |")
        print("|---|---|" + "---|" * (len(WORK) + 1))
        for name, result in results.items():
            cells = [f"{result['images_per_second'][w]:.0f} ({result['ratio'][w]:.2f})" for w in WORK]
            print(f"| {name} | {result['parameters']:,} | {' | '.join(cells)} | {result['round_trip_error']:.0e} |")
        peers = [result["ratio"] for name, result in results.items() if name != "veilray"]
        if peers:
            worst = ", ".join(f"{w} {min(ratio[w] for ratio in peers):.2f}" for w in WORK)
            print(f"\nAgainst the fastest peer: {worst}")
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
