"""The cells of the CADP study: one function a release or control."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation import bootstrap
from veilray.evaluation.attacks import Membership, Memberships, MembershipScores, ReleasedCodes, likelihood_scores
from veilray.evaluation.controls import chance
from veilray.evaluation.nulls import null_scores
from veilray.evaluation.utility import DPSGD, LEARNERS, Learner, Metric, consistency
from veilray.evaluation.utility.dp_sgd import GRID
from veilray.flows import ConditionalGlow, FlowTraining, GlowConfig, train
from veilray.methods.baselines import CADPAsPublished
from veilray.privacy import Claim, SeededEntropy
from veilray.privacy.mechanisms.directional import Directional
from veilray_studies.contract import Parameters
from veilray_studies.kinds.cadp_prepared import CadpSet
from veilray_studies.kinds.cadp_release import Asked, Drawn, drawn_labels, facts, released
from veilray_studies.kinds.columns import Row, attacked, figures, tested

__all__ = ["measured"]

_SLOW_LEARNER_AT = ("none", "4")
"""The small convolutional network learns at these epsilons only; logistic regression at all."""
_GALLERY = 100
_POOL = 3
"""Pictures sampled for the null-conditional control, in multiples of the release: each draw takes its own."""
_DELTA = 1e-5
_TUNED_ON, _TUNED_EPOCHS = 1900, 8
"""Public labelled images that DP-SGD is tuned on, where there are so many, and the epochs of the settings tried."""
_MEMBERS = 1000
_PUBLISHED_MINUTES, _PUBLISHED_EPOCHS = 2.5, 60


def measured(prepared: CadpSet, cell: Parameters) -> list[Row]:
    """The rows of one cell, without the columns that do not apply."""
    release, epsilon, seed = str(cell["release"]), str(cell["epsilon"]), int(cell["seed"])
    policy = str(cell["policy"])
    controls: dict[str, Callable[[], list[Row]]] = {
        "raw": lambda: _raw(prepared, seed),
        "public-only": lambda: _public_only(prepared, seed),
        "null-conditional": lambda: _null_conditional(prepared, policy, epsilon, seed),
        "dp-sgd": lambda: _dp_sgd(prepared, float(epsilon), seed),
        "published": lambda: _published(prepared, float(epsilon), seed),
        "content-code": lambda: _content_code(prepared, epsilon, seed),
        "membership": lambda: _membership(prepared, seed),
    }
    if release in controls:
        return controls[release]()
    return _released(prepared, release, policy, epsilon, seed)


def _released(prepared: CadpSet, mechanism: str, policy: str, epsilon: str, seed: int) -> list[Row]:
    sets, names = prepared.sets, prepared.label_names
    share = prepared.share(epsilon) if policy == "randomised" else Fraction(0)
    asked = Asked(mechanism, Fraction(epsilon), "randomised" if policy == "randomised" else "public", share)
    drawn = released(
        prepared.model,
        sets["private_images"],
        sets["private_labels"],
        names,
        asked,
        f"cadp {prepared.folder.name} {seed}",
    )
    told: Row = {
        "label_epsilon": float(asked.label_epsilon) if policy == "randomised" else None,
        "label_kept": round(asked.keeps_label(len(names)), 4),
        "layout": _layout(drawn),
        **_read_back(prepared, drawn, seed),
        **(_attacked(prepared, drawn, seed) if policy == "public" else {}),
    }
    return [
        _scored(LEARNERS[name](), drawn.pictures, drawn.labels, prepared, seed) | told for name in _learners(epsilon)
    ]


def _raw(prepared: CadpSet, seed: int) -> list[Row]:
    sets = prepared.sets
    rows = [
        _scored(LEARNERS[name](), sets["private_images"], sets["private_labels"], prepared, seed)
        for name in _learners("none")
    ]
    if prepared.has_code:
        code = prepared.code("4")
        train_rows, test_rows = code.encode(sets["private_images"]), code.encode(sets["test_images"])
        rows.append(_scored(LEARNERS["code-logistic"](), train_rows, sets["private_labels"], prepared, seed, test_rows))
    return rows


def _public_only(prepared: CadpSet, seed: int) -> list[Row]:
    """Learners of the labelled public images, where there are classes to tell."""
    labels = prepared.public_labels
    known = labels >= 0
    images = prepared.sets["public_images"][known]
    rows = [_scored(LEARNERS[name](), images, labels[known], prepared, seed) for name in _learners("none")]
    if prepared.has_code:
        code = prepared.code("4")
        test_rows = code.encode(prepared.sets["test_images"])
        rows.append(_scored(LEARNERS["code-logistic"](), code.encode(images), labels[known], prepared, seed, test_rows))
    return rows


def _null_conditional(prepared: CadpSet, policy: str, epsilon: str, seed: int) -> list[Row]:
    """The label and no image. Under the randomised policy all of epsilon goes to the label: the best such null."""
    sets, names, model = prepared.sets, prepared.label_names, prepared.model
    entropy = SeededEntropy(f"null-conditional {prepared.folder.name} {seed}")
    labels = sets["private_labels"]
    asked = None
    if policy == "randomised":
        asked = Asked("directional", Fraction(epsilon), "randomised", Fraction(1))
        labels = drawn_labels(labels, len(names), asked, entropy)
    pool = {
        int(label): model.sample(facts(np.full(_POOL * count, label), names), entropy)
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True)
    }

    def sample(wanted: NDArray[np.int64], draw: int) -> NDArray[Any]:
        rng = np.random.default_rng((seed, draw))
        pictures = np.empty((len(wanted), *sets["private_images"].shape[1:]), sets["private_images"].dtype)
        for label in np.unique(wanted):
            rows = np.flatnonzero(wanted == label)
            pictures[rows] = pool[int(label)][rng.permutation(len(pool[int(label)]))[: len(rows)]]
        return pictures

    told: Row = {
        "label_epsilon": None if asked is None else float(asked.label_epsilon),
        "label_kept": 1.0 if asked is None else round(asked.keeps_label(len(names)), 4),
    }
    learner = LEARNERS["logistic"]()
    scores = null_scores(sample, labels, learner, sets["test_images"], sets["test_labels"], seed=seed)
    row = figures(learner, _metric(prepared), bootstrap.over_seeds(scores), len(labels))
    found = [row | {"chance": _chance(prepared)} | told]
    if epsilon in _SLOW_LEARNER_AT:
        found.append(_scored(LEARNERS["cnn"](), sample(labels, 0), labels, prepared, seed) | told)
    return found


def _dp_sgd(prepared: CadpSet, epsilon: float, seed: int) -> list[Row]:
    """Central DP: a network trained on the private images, its settings tuned on public labelled ones."""
    sets, labels = prepared.sets, prepared.public_labels
    known = np.flatnonzero(labels >= 0)[:_TUNED_ON]
    learner: Learner = DPSGD(epsilon, _DELTA)
    note = "defaults"
    if len(known) == _TUNED_ON:
        grid = [recipe for recipe in GRID if recipe.epochs == _TUNED_EPOCHS]
        learner = DPSGD.tuned(
            sets["public_images"][known], labels[known], epsilon=epsilon, delta=_DELTA, seed=0, grid=grid
        )
        note = "tuned on public images"
    row = _scored(learner, sets["private_images"], sets["private_labels"], prepared, seed)
    return [row | {"layout": f"delta {_DELTA:g}; {note}"}]


def _published(prepared: CadpSet, epsilon: float, seed: int) -> list[Row]:
    """The published network, clip and noise: a re-implementation without a claim."""
    sets, labels = prepared.sets, prepared.public_labels
    known = labels >= 0
    network = CADPAsPublished.fit(
        sets["public_images"][known],
        labels[known],
        len(prepared.label_names),
        epochs=_PUBLISHED_EPOCHS,
        max_minutes=_PUBLISHED_MINUTES,
        seed=seed,
        clock=time.process_time,
    )
    rng = np.random.default_rng(seed)
    private = sets["private_labels"]
    pictures = network.release(sets["private_images"], private, epsilon, rng)
    learner = LEARNERS["logistic"]()
    return [_scored(learner, pictures, private[: len(pictures)], prepared, seed) | {"layout": "no claim; batch of one"}]


def _content_code(prepared: CadpSet, epsilon: str, seed: int) -> list[Row]:
    """The directional method beside it: a self-supervised code of the public images, no label in the encoder."""
    sets, code = prepared.sets, prepared.code(epsilon)
    mechanism = Directional.calibrate(Claim.of(epsilon), code.dimension)
    rows = code.encode(sets["private_images"])
    drawn = mechanism.release(rows, SeededEntropy(f"content code {prepared.folder.name} {seed}"))
    test = code.encode(sets["test_images"])
    learner = LEARNERS["code-logistic"]()
    row = _scored(learner, mechanism.to_prior(drawn), sets["private_labels"], prepared, seed, test)
    return [row | {"layout": f"{code.dimension} numbers of a content code"}]


def _membership(prepared: CadpSet, seed: int) -> list[Row]:
    """Training images of the flow against private ones, beside a flow that knows its images by heart."""
    sets, names, model = prepared.sets, prepared.label_names, prepared.model
    public = [{"label": str(text)} for text in sets["public_labels"]]
    rng = np.random.default_rng(seed)
    members = np.sort(rng.permutation(len(public))[:_MEMBERS])
    others = np.sort(rng.permutation(len(sets["private_images"]))[:_MEMBERS])
    member_facts, other_facts = [public[row] for row in members], facts(sets["private_labels"][others], names)
    if not all(row["label"] for row in public):  # facts known of one side alone would tell the sides apart
        member_facts, other_facts = [{} for _ in members], [{} for _ in others]
    images, foreign = sets["public_images"][members], sets["private_images"][others]
    patients = np.array([f"public {row}" for row in members]), sets["private_patients"][others]
    few = min(64, len(images) // 2)
    by_heart = _by_heart(
        model.flow.config, model.declared.config, images[:few], model.declared.condition(member_facts[:few])
    )
    rows = []
    for calibrated in (False, True):

        def scores(flow: ConditionalGlow, pictures: NDArray[Any], told: Any, calibrated: bool = calibrated) -> Any:
            condition = model.declared.condition(told)
            return likelihood_scores(
                lambda some: flow.bits_per_dimension(some, condition).numpy(), pictures, calibrated=calibrated
            )

        target = Memberships(
            MembershipScores(
                scores(model.flow, images, member_facts), scores(model.flow, foreign, other_facts), *patients
            ),
            MembershipScores(
                scores(by_heart, images[:few], member_facts[:few]), scores(by_heart, foreign, other_facts)
            ),
        )
        for figure in ("auc", "true_positive_rate"):
            attack = Membership(figure=figure, calibrated=calibrated)
            found = attack.run(target, np.random.default_rng(seed))
            name = "calibrated likelihood" if calibrated else "likelihood"
            metric = "membership auc" if figure == "auc" else "membership tpr at 1 % fpr"
            estimate = {part: round(getattr(found.released, part), 5) for part in ("value", "low", "high")}
            control = {"control": round(found.positive.value, 4), "images": len(images)}
            rows.append({"learner": name, "metric": metric, **estimate, **control})
    return rows


def _by_heart(config: GlowConfig, conditions: Any, images: NDArray[Any], told: Any) -> ConditionalGlow:
    """A flow trained on a few images until it remembers them."""
    flow = ConditionalGlow(config, conditions, 1)
    schedule = FlowTraining(epochs=60, batch_size=min(16, len(images)), ema_decay=0.9, patience=None, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        train(
            flow,
            images,
            images,
            schedule,
            Path(folder),
            conditions=lambda chosen, _: told[np.asarray(chosen)],
            validation_conditions=told,
        )
    return flow


def _read_back(prepared: CadpSet, drawn: Drawn, seed: int) -> Row:
    """Does a classifier of real images read the released label in the released picture?"""
    sets = prepared.sets
    reader = LEARNERS["logistic"]().fit(sets["private_images"], sets["private_labels"], seed)
    found = consistency(
        reader, drawn.pictures, drawn.labels, sets["test_images"], sets["test_labels"], resamples=200, seed=seed
    )
    return {
        "consistency": round(found.released.overall.value, 4),
        "reader": round(found.real.overall.value, 4),
    }


def _attacked(prepared: CadpSet, drawn: Drawn, seed: int) -> Row:
    """Linkage among records of equal label and same-image verification, beside their lines."""
    sets = prepared.sets
    labels, patients = sets["private_labels"], sets["private_patients"]
    gallery = min(_GALLERY, *(len(set(patients[labels == label])) for label in np.unique(labels)))
    if gallery < 2:  # every picture of a label shows the same person
        return {}
    target = ReleasedCodes(drawn.mechanism, drawn.released_rows, drawn.rows, labels, patients)
    return attacked(target, gallery, seed)


def _layout(drawn: Drawn) -> str:
    told = drawn.mechanism.guarantee(drawn.mechanism.dimension).parameters
    return f"sizes {told['sizes']}, shares {told['shares']}"


def _learners(epsilon: str) -> tuple[str, ...]:
    return ("logistic", "cnn") if epsilon in _SLOW_LEARNER_AT else ("logistic",)


def _scored(
    learner: Learner,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    prepared: CadpSet,
    seed: int,
    test: NDArray[Any] | None = None,
) -> Row:
    """Train on `inputs`, test on real pictures, or on `test`."""
    sets = prepared.sets
    asked = sets["test_images"] if test is None else test
    row = tested(learner, inputs, labels, asked, sets["test_labels"], sets["test_patients"], seed)
    return row | {"chance": _chance(prepared)}


def _metric(prepared: CadpSet) -> Metric:
    return "auc" if len(prepared.label_names) == 2 else "accuracy"


def _chance(prepared: CadpSet) -> float:
    return round(chance(_metric(prepared), prepared.sets["test_labels"]), 5)
