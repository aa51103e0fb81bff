"""The cells of the utility study: learners on codes, learners on pictures, and the null of each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation import bootstrap
from veilray.evaluation.attacks import ReleasedCodes
from veilray.evaluation.similarity import density_coverage, own_features
from veilray.evaluation.utility import LEARNERS, CodeAware, Learner, score
from veilray.methods import load_method
from veilray.privacy import MECHANISMS, Claim, Mechanism, SeededEntropy
from veilray.privacy.samplers.normal import normals
from veilray_studies.contract import Parameters
from veilray_studies.kinds.columns import Row, attacked, figures, tested
from veilray_studies.kinds.prepared import Prepared, mechanism_for

__all__ = ["measured"]

_IMAGE_LEARNERS = ("logistic", "cnn", "resnet")
_NULL_DRAWS = 20
_ATTACKED = 2500
_GALLERY = 100
"""Records under attack, and in a gallery: there are enough of every label."""
_COMPARED = 1000
"""Pictures whose density and coverage are taken."""
_NO_IMAGE = "0.01"
"""Epsilon of the null's pictures: the decoder is told that the code says next to nothing, and it does."""


def measured(prepared: Prepared, cell: Parameters) -> list[Row]:
    """The rows of one cell, without the columns that do not apply."""
    name, epsilon, seed = str(cell["mechanism"]), str(cell["epsilon"]), int(cell["seed"])
    if cell["space"] == "image":
        return _pictures(prepared, name, epsilon, seed)
    forced = int(cell["keep"]) if "keep" in cell else None
    return _codes(prepared, str(cell["code"]), name, epsilon, seed, forced)


def _codes(prepared: Prepared, kind: str, name: str, epsilon: str, seed: int, forced: int | None) -> list[Row]:
    logistic = LEARNERS["code-logistic"]()
    if name in ("raw", "bounded"):
        rows = {part: found[:, :forced] for part, found in prepared.rows(kind).items()}
        shown = rows["private"] if name == "raw" else _directions(rows["private"])
        return [_scored(logistic, shown, prepared, rows["test"], seed) | {"kept": shown.shape[1]}]
    if name == "null":
        kept = prepared.kept(kind, "directional", "1")
        noise = normals(SeededEntropy(f"null {seed}").words(kept.private.shape, np.uint64))
        return [_null(noise, prepared, kept.test, logistic, seed) | {"kept": kept.code.dimension}]
    kept = prepared.kept(kind, name, epsilon, forced)
    mechanism = mechanism_for(name, epsilon, kept.code)
    drawn = mechanism.release(kept.private, SeededEntropy(f"utility {prepared.folder.name} {seed}"))
    told = {"kept": kept.code.dimension, "patient_epsilon": _patient_epsilon(prepared, epsilon)}
    told |= _attacked(prepared, mechanism, drawn, kept.private, seed)
    found = [_scored(logistic, mechanism.to_prior(drawn), prepared, kept.test, seed)]
    if name == "directional" and kind.startswith("invariant") and forced is None:
        found.append(_scored(CodeAware(mechanism, kept.code.reference), drawn, prepared, kept.test, seed))
    return [row | told for row in found]


def _directions(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the directional mechanism is given of each row, at the length that a prior row has."""
    keep = rows.shape[1]
    return np.asarray(MECHANISMS["directional"].calibrate(Claim.of("1"), keep).bound(rows) * math.sqrt(keep))


def _pictures(prepared: Prepared, name: str, epsilon: str, seed: int) -> list[Row]:
    sets = prepared.sets
    test = sets["test_images"]
    if name == "raw":
        return [
            _scored(LEARNERS[learner](), sets["private_images"], prepared, test, seed) for learner in _IMAGE_LEARNERS
        ]
    method = load_method(prepared.model)
    entropy = SeededEntropy(f"utility {prepared.folder.name} {seed}")
    told: Row = {"kept": method.dimension}
    if name == "null":
        mechanism = method.calibrated(Claim.of(_NO_IMAGE), "directional")
        codes = method.prior(len(sets["private_images"]), entropy)
    else:
        mechanism = method.calibrated(Claim.of(epsilon), name)
        codes = method.encode(sets["private_images"])
        told["patient_epsilon"] = _patient_epsilon(prepared, epsilon)
    pictures = method.render(mechanism.release(codes, entropy), mechanism, entropy)
    some = np.random.default_rng(seed).permutation(len(pictures))[:_COMPARED]
    near = density_coverage(own_features(sets["public_images"][:_COMPARED]), own_features(pictures[some]))
    told |= {"density": round(near.density, 4), "coverage": round(near.coverage, 4)}
    if name == "null":
        return [_null(pictures, prepared, test, LEARNERS["logistic"](), seed) | told]
    return [_scored(LEARNERS[learner](), pictures, prepared, test, seed) | told for learner in _IMAGE_LEARNERS]


def _null(inputs: NDArray[Any], prepared: Prepared, test: NDArray[Any], learner: Learner, seed: int) -> Row:
    """Inputs in which no private image had a part, under the private labels dealt anew 20 times.

    Noise that is independent of the image is independent of its label: dealing the labels is drawing the noise anew.
    """
    labels, truth = prepared.sets["private_labels"], prepared.sets["test_labels"]
    rng = np.random.default_rng(seed)
    draws = [score(learner, inputs, rng.permutation(labels), test, truth, seed=draw) for draw in range(_NULL_DRAWS)]
    return figures(learner, draws[0].metric, bootstrap.over_seeds([draw.value for draw in draws]), len(inputs))


def _scored(learner: Learner, inputs: NDArray[Any], prepared: Prepared, test: NDArray[Any], seed: int) -> Row:
    """Train on `inputs` with the private labels, test on real."""
    sets = prepared.sets
    return tested(learner, inputs, sets["private_labels"], test, sets["test_labels"], sets["test_patients"], seed)


def _attacked(
    prepared: Prepared, mechanism: Mechanism, drawn: NDArray[np.float64], latent: NDArray[np.float64], seed: int
) -> Row:
    """Linkage and verification of some of the records."""
    sets = prepared.sets
    some = np.sort(np.random.default_rng(seed).permutation(len(drawn))[:_ATTACKED])
    labels, patients = sets["private_labels"][some], sets["private_patients"][some]
    return attacked(ReleasedCodes(mechanism, drawn[some], latent[some], labels, patients), _GALLERY, seed)


def _patient_epsilon(prepared: Prepared, epsilon: str) -> float:
    """What the patient with the most images spends."""
    return float(epsilon) * int(np.unique(prepared.sets["private_patients"], return_counts=True)[1].max())
