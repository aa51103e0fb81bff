"""The cells of the obfuscation study: utility, attacks, what the maps leave standing, and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from veilray.cloud import CLOUD_TRAINING, fit_network
from veilray.cloud.training import probabilities
from veilray.evaluation import bootstrap
from veilray.evaluation.attacks.intensity import (
    ATTACKS_ON_PICTURES,
    AttackOnPictures,
    CiphertextOnly,
    ObfuscatedSet,
    PictureResult,
    Setting,
    UNetReconstruction,
)
from veilray.evaluation.controls import chance
from veilray.evaluation.result import Estimate
from veilray.evaluation.similarity.distortion import MEASURES, distortion, null_reconstruction
from veilray.methods.obfuscation import IntensityMap, survival
from veilray.methods.obfuscation.intensity_map import SOURCES
from veilray_studies.contract import Parameters
from veilray_studies.kinds.obfuscation_game import Game, Images, PreparedSet
from veilray_studies.kinds.obfuscation_settings import RAW, SETTINGS, WITHOUT_PICTURES
from veilray_studies.vessels import vessel_dice

__all__ = ["attack_of", "knowledge_of", "measured", "played"]

Row = dict[str, Any]

_BATCH = CLOUD_TRAINING.batch_size
_FEWEST_EPOCHS, _MOST_EPOCHS = 4, 60
_PAIRS_OF_THE_CURVE = 10
_ALONE = 8
"""Pictures that the attack on one picture by itself is tried on."""
_SEEN_WHOLE = 300
"""Pictures for an attack that reconstructs none: it takes no time."""
_MAPS = 128
_LARGEST_PREIMAGE = 12
_ROUNDS, _TIMED = 7, 1000
"""Raw and obfuscated epochs in turn, on at most so many pictures."""


def measured(prepared: PreparedSet, cell: Parameters) -> list[Row]:
    """The rows of one cell."""
    game = Game(prepared, str(cell["setting"]), int(cell["seed"]))
    measure = str(cell["measure"])
    if measure.startswith("utility-"):
        return _utility(game, measure.removeprefix("utility-"), int(cell["training_steps"]))
    if measure == "figures":
        return _figures(game, int(cell["targets"]))
    if measure == "time":
        return _time(game)
    target, result = played(game, cell)
    return _attacked(prepared, target, result)


def played(game: Game, cell: Parameters) -> tuple[ObfuscatedSet, PictureResult]:
    """Play the attack that a cell names."""
    measure = str(cell["measure"])
    pairs = int(cell["pairs"]) if measure.startswith("u-net") else _PAIRS_OF_THE_CURVE
    targets = _SEEN_WHOLE if measure in WITHOUT_PICTURES else int(cell["targets"])
    target = game.target(knowledge_of(measure), targets, pairs if _takes_pairs(measure) else 0)
    rng = np.random.default_rng((game.seed, 5))
    return target, attack_of(measure, int(cell["unet_steps"]), int(cell["pairs"])).run(target, rng)


def knowledge_of(measure: str) -> Setting:
    """What the attacker of a measure knows."""
    if measure.startswith("u-net-"):
        return cast(Setting, measure.removeprefix("u-net-"))
    return "same-key" if measure == "known-pairs" else "informed"


def attack_of(measure: str, unet_steps: int, pairs: int) -> AttackOnPictures:
    """The attack of a measure."""
    if measure.startswith("u-net-"):
        return UNetReconstruction(steps=unet_steps, most_pairs=pairs)
    if measure == "ciphertext-only":
        return CiphertextOnly(pictures=_ALONE)
    return ATTACKS_ON_PICTURES[measure]()


def _takes_pairs(measure: str) -> bool:
    return measure.startswith("u-net") or measure == "known-pairs"


def _utility(game: Game, network: str, steps: int) -> list[Row]:
    """Train on the owner's obfuscated pictures, predict obfuscated test pictures: both under the one key."""
    sets, classes = game.prepared.sets, game.prepared.classes
    images, labels = game.obfuscated("train"), sets["train_labels"]
    epochs = int(np.clip(round(steps * _BATCH / len(images)), _FEWEST_EPOCHS, _MOST_EPOCHS))
    model, told = fit_network(
        images, labels, classes, network=network, settings=replace(CLOUD_TRAINING, epochs=epochs, seed=game.seed)
    )
    scores = probabilities(model, game.obfuscated("test"))
    truth, patients = sets["test_labels"], sets["test_patients"]
    if classes == 2:
        metric = "auc"
        found = bootstrap.auc(truth, scores[:, 1], patients, seed=game.seed)
    else:
        metric = "accuracy"
        found = bootstrap.mean(scores.argmax(axis=1) == truth, patients, seed=game.seed)
    return [
        _row(metric, found, len(images), f"{epochs} epochs, the best is {told.best_epoch}"),
        {"figure": "chance", "value": round(chance("auc" if classes == 2 else "accuracy", truth), 5)},
    ]


def _attacked(prepared: PreparedSet, target: ObfuscatedSet, result: PictureResult) -> list[Row]:
    """Score and controls, gains over the null reconstructor, and whatever the attack says of itself."""
    count = len(target.originals) if result.rows is None else len(result.rows)
    rows = [
        _row("score", result.released, count, f"{result.protocol}; {result.setting}"),
        _row("positive", result.positive, count, "" if result.has_power else "no power"),
        _row("negative", result.negative, count),
        *(_row(f"{name}_gain", gain, count) for name, gain in result.gains.items()),
        *_plain(result.figures),
    ]
    if result.reconstructions is not None and result.rows is not None and not prepared.classes:
        originals = target.originals[result.rows]
        rows += _vessels("reconstruction", originals, result.reconstructions, target)
        rows += _vessels("null", originals, null_reconstruction(target.view.own, count), target)
    return rows


def _vessels(name: str, originals: Images, others: Images, target: ObfuscatedSet) -> list[Row]:
    """Do the vessels survive? By the strongest responses of a vesselness filter in both pictures."""
    groups = None if target.patients is None else target.patients[: len(originals)]
    found = bootstrap.mean(vessel_dice(originals, others), groups)
    return [_row(f"vessel_dice_{name}", found, len(originals))]


def _figures(game: Game, targets: int) -> list[Row]:
    """What stands in the obfuscated pictures before any attack, and the law of the maps."""
    sets, setting = game.prepared.sets, SETTINGS[game.setting]
    target = game.target("informed", targets, 0)
    originals, seen = target.originals, target.view.obfuscated
    kept = survival(originals, seen)
    likeness, null = (
        distortion(originals, seen),
        distortion(originals, null_reconstruction(sets["own_images"], len(seen))),
    )
    told = {"edges_kept": kept.edges, "level_sets_kept": kept.level_sets, "histogram_distance": kept.histogram}
    told |= {f"seen_{name}": float(likeness.measure(name).mean()) for name in MEASURES}
    told |= {f"null_{name}": float(null.measure(name).mean()) for name in MEASURES}
    told |= {name: value for name, value in game.model.card.figures.items() if name.startswith("encoder_")}
    rows = _plain(told | (_laws(game) if setting.keyed else {}))
    return rows if game.prepared.classes else rows + _vessels("obfuscated", originals, seen, target)


def _laws(game: Game) -> dict[str, float]:
    """Means over maps of the family: H(X|Y) in bits a pixel, and how many source levels share a target."""
    family, images = game.model.recipe.maps, game.prepared.sets["train_images"]
    maps = [family.draw(game.key.stream("figures", b"%d" % row)) for row in range(_MAPS)]
    histogram = np.bincount(images.reshape(-1), minlength=SOURCES)
    sizes = np.mean([each.preimage_sizes() for each in maps], axis=0) * np.arange(SOURCES + 1) / SOURCES
    shares = {f"preimage_{size}": float(sizes[size]) for size in range(1, _LARGEST_PREIMAGE)}
    return {
        "residual_bits": _mean(maps, lambda each: each.residual_entropy(histogram)),
        "residual_bits_uniform": _mean(maps, lambda each: each.residual_entropy()),
        **shares,
        f"preimage_{_LARGEST_PREIMAGE}_or_more": float(sizes[_LARGEST_PREIMAGE:].sum()),
    }


def _mean(maps: list[IntensityMap], figure: Callable[[IntensityMap], float]) -> float:
    return float(np.mean([figure(each) for each in maps]))


def _time(game: Game) -> list[Row]:
    """Processor time of an epoch on obfuscated pictures against raw ones, in turn; and of obfuscating."""
    sets = game.prepared.sets
    raw, labels = sets["train_images"][:_TIMED], sets["train_labels"][:_TIMED]
    begun = time.process_time()
    images = game.obfuscated("train", _TIMED)
    first = time.process_time() - begun
    rates = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        game.obfuscated("train", _TIMED)
        rates.append(len(images) / (time.process_time() - begun))
    _epoch(raw, labels, game)  # what is loaded and compiled once is not counted
    seconds = {RAW: [_epoch(raw, labels, game)], "obfuscated": [_epoch(images, labels, game)]}
    for turn in range(1, _ROUNDS):
        pair = ((RAW, raw), ("obfuscated", images))
        for name, pixels in pair if turn % 2 else pair[::-1]:
            seconds[name].append(_epoch(pixels, labels, game))
    ratios = np.array(seconds["obfuscated"]) / np.array(seconds[RAW])
    return [
        _row("epoch_ratio", bootstrap.over_seeds(ratios.tolist()), len(raw), f"{_ROUNDS} epochs each, in turn"),
        _row("epoch_seconds_raw", bootstrap.over_seeds(seconds[RAW]), len(raw)),
        _row("images_a_second", bootstrap.over_seeds(rates), len(raw), f"one core; the first time {first:.2f} s"),
    ]


def _epoch(images: Images, labels: NDArray[np.int64], game: Game) -> float:
    begun = time.process_time()
    fit_network(images, labels, game.prepared.classes, settings=replace(CLOUD_TRAINING, epochs=1, seed=game.seed))
    return time.process_time() - begun


def _row(figure: str, found: Estimate, images: int, note: str = "") -> Row:
    told = {name: round(getattr(found, name), 5) for name in ("value", "low", "high")}
    return {"figure": figure, **told, "images": images, "note": note}


def _plain(figures: Mapping[str, float]) -> list[Row]:
    return [{"figure": name, "value": round(float(value), 5)} for name, value in figures.items()]
