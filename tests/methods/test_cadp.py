"""CADP: what encoder and decoder are told, what the budget buys, what a counterfactual is, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from veilray.api import fit, release
from veilray.evaluation.audit import audit, subject_of
from veilray.flows import ConditionalGlow, ConditionConfig, GlowConfig
from veilray.methods import CADP, load_method
from veilray.methods.budget import best_layout
from veilray.privacy import Claim, ModelTraining, SeededEntropy, SystemEntropy
from veilray.releases import ReleaseContext
from veilray.releases.images import ImageStaging

MECHANISMS = {
    "directional": (Claim.of("4"), {}),
    "laplace": (Claim.of("4"), {}),
    "gaussian": (Claim.of("4", "1/100000"), {}),
    "codebook": (Claim.of("4"), {}),
    "selection": (Claim.of("4"), {"candidates": 64}),
}


def digits_with_facts(path: Path, start: int, count: int) -> Path:
    """Digits with parity as label, the digit as a number, and a colour that is not always known."""
    values, digits = load_digits(return_X_y=True)
    rows = slice(start, start + count)
    colours = np.array(["red", "blue", ""])[np.arange(count) % 3]
    np.savez(
        path,
        images=(values[rows].reshape(-1, 8, 8) * 15).astype(np.uint8),
        label=np.where(digits[rows] % 2, "odd", "even"),
        patient=np.array([f"p{number}" for number in range(start, start + count)]),
        digit=digits[rows].astype(str),
        colour=colours,
    )
    return path


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_with_facts(tmp_path_factory.mktemp("public") / "public.npz", 0, 240)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_with_facts(tmp_path_factory.mktemp("private") / "private.npz", 1000, 40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, public: Path, tiny_options: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("cadp") / "model"
    fit("cadp", public, folder, condition="label,digit,colour", bounds={"digit": "0:9"}, keep=12, **tiny_options)
    return folder


@pytest.fixture(scope="module")
def cadp(model: Path) -> CADP:
    method = load_method(model)
    assert isinstance(method, CADP)
    return method


@pytest.fixture
def released(tmp_path: Path, private: Path, model: Path) -> Callable[..., Path]:
    def make(epsilon: str = "4", **options: Any) -> Path:
        outcome = release(private, model, epsilon, tmp_path / "release", ledger=tmp_path / "ledger.sqlite", **options)
        assert outcome.out is not None
        return outcome.out

    return make


def test_a_saved_model_is_the_same_model(cadp: CADP, model: Path, private_digits: np.ndarray) -> None:
    known = [{"label": "odd", "digit": "3"}] * len(private_digits)
    again = load_method(model)
    assert np.array_equal(cadp.encode_given(private_digits, known), again.encode_given(private_digits, known))
    assert cadp.declared.names == ("label", "digit", "colour")
    assert cadp.card.levels_of == {"label": ("even", "odd"), "colour": ("blue", "red")}
    shares = [value for name, value in cadp.card.figures.items() if name.startswith("importance_of_level")]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_levels_of_other_patients_stay_out_of_the_card(
    tmp_path: Path, public: Path, tiny_options: dict[str, Any]
) -> None:
    options = {**tiny_options, "training_data": "other patients", "statement": "a ward"}
    fitted = fit("cadp", public, tmp_path / "model", condition="colour", keep=2, **options)
    assert "blue" not in fitted.card.model_dump_json()
    again = load_method(tmp_path / "model")
    assert isinstance(again, CADP)
    assert again.declared.levels_of == {"colour": ("blue", "red")}


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_releases_under_the_conditions(cadp: CADP, private_digits: np.ndarray, name: str) -> None:
    claim, options = MECHANISMS[name]
    mechanism = cadp.calibrated(claim, name, **options)
    facts = [{"label": "odd"}] * len(private_digits)
    drawn = cadp.release(private_digits, ReleaseContext(mechanism, SystemEntropy()), facts, facts)
    assert drawn.pixels.shape == private_digits.shape
    assert drawn.code is None
    assert drawn.guarantee is not None
    assert drawn.guarantee.image_epsilon == claim.epsilon
    assert sum(Fraction(share) for share in drawn.guarantee.parameters["shares"].split()) == claim.epsilon
    assert drawn.guarantee.parameters["of"] == name


def test_a_direction_without_a_share_does_not_know_the_record(cadp: CADP, private_digits: np.ndarray) -> None:
    mechanism = cadp.calibrated(Claim.of("1"))
    sizes = [int(size) for size in mechanism.guarantee(cadp.dimension).parameters["sizes"].split()]
    assert len(sizes) == 2  # one block is told, the rest is the prior's
    rows = cadp.encode(private_digits)
    one, other = (mechanism.release(some, SeededEntropy("same")) for some in (rows[:40], rows[40:80]))
    assert np.array_equal(one[:, sizes[0] :], other[:, sizes[0] :])
    assert not np.array_equal(one[:, : sizes[0]], other[:, : sizes[0]])


def test_a_row_does_not_depend_on_the_other_images(cadp: CADP, private_digits: np.ndarray) -> None:
    mechanism = cadp.calibrated(Claim.of("4"))
    facts = [{"label": "odd"}, {"label": "even"}, {}, {"digit": "7"}]

    def pixels(images: np.ndarray, known: list[dict[str, str]]) -> np.ndarray:
        return cadp.release(images, ReleaseContext(mechanism, SeededEntropy(3)), known, known).pixels

    first = pixels(private_digits[:4], facts)
    swapped = pixels(np.concatenate([private_digits[50:53], private_digits[3:4]]), [{}, {}, {"label": "odd"}, facts[3]])
    assert np.array_equal(first[3], swapped[3])


def test_pictures_under_their_own_facts_come_back_and_under_others_do_not(
    cadp: CADP, private_digits: np.ndarray
) -> None:
    own, other = [{"label": "odd"}] * 96, [{"label": "even"}] * 96
    assert np.array_equal(cadp.counterfactual(private_digits, own, own), private_digits)
    assert not np.array_equal(cadp.counterfactual(private_digits, own, other), private_digits)


@pytest.mark.parametrize(
    ("policy", "encoder", "decoder"),
    [
        ({"label_policy": "public"}, "truth", "truth"),
        ({"label_policy": "randomised", "label_epsilon": "1/1000"}, "truth", "draw"),
        ({"label_policy": "withheld"}, "nothing", "nothing"),
        ({"label_policy": "public", "decode_under": {"label": "odd"}}, "truth", "odd"),
    ],
)
def test_who_is_told_what(
    released: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    private: Path,
    policy: dict[str, Any],
    encoder: str,
    decoder: str,
) -> None:
    known: list[dict[str, str]] = []
    told: list[dict[str, str]] = []
    encode, render = CADP.encode_given, CADP.render_given

    def seen_encode(self: CADP, images: np.ndarray, facts: Any) -> np.ndarray:
        known.extend(facts)
        return encode(self, images, facts)

    def seen_render(self: CADP, drawn: np.ndarray, mechanism: Any, entropy: Any, facts: Any) -> np.ndarray:
        told.extend(facts)
        return render(self, drawn, mechanism, entropy, facts)

    monkeypatch.setattr(CADP, "encode_given", seen_encode)
    monkeypatch.setattr(CADP, "render_given", seen_render)
    folder = released(**policy)
    truth = sorted(np.load(private)["label"].tolist())
    assert sorted(row.get("label", "") for row in known) == (truth if encoder == "truth" else [""] * 40)
    manifest = [line.split(",") for line in (folder / "manifest.csv").read_text().splitlines()[1:]]
    if decoder == "truth":
        assert told == known
    elif decoder == "odd":
        assert [row["label"] for row in told] == ["odd"] * 40
        assert sorted(line[1] for line in manifest) == truth  # the label itself leaves under its policy
    elif decoder == "draw":
        assert sorted(row["label"] for row in told) == sorted(line[1] for line in manifest)
        assert [row["label"] for row in told] != [row["label"] for row in known]  # 2^-40 that all are kept
    else:
        assert told == [{}] * 40


def test_a_counterfactual_is_recorded(released: Callable[..., Path]) -> None:
    folder = released(decode_under={"label": "odd", "digit": "3"})
    assert json.loads((folder / "release.json").read_text())["decoded_under"] == {"label": "odd", "digit": "3"}
    assert "as if digit = 3, label = odd" in (folder / "README").read_text()


def test_a_counterfactual_is_not_forgotten_when_a_release_is_continued(
    released: Callable[..., Path], tmp_path: Path, private: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk is full"):
        patch.setattr(ImageStaging, "finish", broken)
        released(decode_under={"label": "odd"})
    ledger = tmp_path / "ledger.sqlite"
    with pytest.raises(ValueError, match="decode_under must be"):
        release(private, model, "4", tmp_path / "release", ledger=ledger, resume=True)
    under = {"label": "odd"}
    assert release(private, model, "4", tmp_path / "release", ledger=ledger, resume=True, decode_under=under).out


def test_what_is_not_public_has_no_part_in_the_layout(cadp: CADP) -> None:
    card = cadp.card.model_copy(update={"training": ModelTraining(data="not covered", statement="a ward")})
    private = CADP(cadp.flow, cadp.declared, cadp.directions, card, cadp.domain)
    even = best_layout("directional", Claim.of("4"), np.ones(cadp.dimension))
    told = private.calibrated(Claim.of("4")).guarantee(cadp.dimension).parameters
    assert told["sizes"] == " ".join(map(str, even.sizes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": "1,3"}, "shares must go with sizes, got shares '1,3' alone"),
        ({"of": "laplace"}, "of must go with mechanism blockwise, got it with directional"),
    ],
)
def test_options_that_would_be_left_aside_are_refused(cadp: CADP, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cadp.calibrated(Claim.of("4"), **options)


def test_altered_conditions_are_refused(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    altered = (folder / "flow.json").read_text().replace('"even"', '"e"').replace('"odd"', '"even"')
    (folder / "flow.json").write_text(altered.replace('"e"', '"odd"'))
    with pytest.raises(ValueError, match="must hold the weights its model card tells of"):
        load_method(folder)


def test_numbers_leave_under_their_bounds(released: Callable[..., Path]) -> None:
    folder = released(label_policy="public", condition_policy={"digit": "randomised:1"})
    lines = (folder / "manifest.csv").read_text().splitlines()
    assert lines[0] == "path,digit,label"
    assert all(0 <= float(line.split(",")[1]) <= 9 for line in lines[1:])
    told = json.loads((folder / "release.json").read_text())["guarantee"]["conditions"]["digit"]
    assert (told["policy"], told["epsilon"], told["low"], told["high"]) == ("randomised", "1", "0", "9")


@pytest.mark.parametrize(
    ("under", "message"),
    [
        ({"label": "both"}, "label to decode under must be one of even, odd, got 'both'"),
        ({"age": "3"}, "condition must be one of label, digit, colour, got 'age'"),
        ({"digit": "999"}, "digit to decode under must be a number from 0 to 9, got '999'"),
        ({"digit": ""}, "digit to decode under must be a number from 0 to 9, got ''"),
    ],
)
def test_unknown_facts_to_decode_under_are_refused(
    released: Callable[..., Path], under: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        released(decode_under=under)


def test_an_unconditional_model_decodes_under_nothing(tmp_path: Path, private: Path, directional_model: Path) -> None:
    with pytest.raises(ValueError, match="decode under must go with a conditional model, got it with"):
        release(
            private, directional_model, "1", tmp_path / "out", decode_under={"label": "odd"}, ledger=tmp_path / "l.db"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": "age"}, "condition must be one of colour, digit, label, got 'age'"),
        ({"condition": "label", "bounds": {"digit": "0:9"}}, "bounds must be of label, got digit"),
        ({"condition": "digit", "bounds": {"digit": "9:0"}}, "bounds of digit must be low:high with low < high"),
        ({"condition": "digit", "bounds": {"digit": "9"}}, "bounds of digit must be LOW:HIGH"),
        ({"condition": "label", "bounds": {"label": "0:9"}}, "label must be a number"),
        ({"task": "digit"}, "task must be one of label or picture, got 'digit'"),
        ({"keep": 65}, "keep must be between 1 and 64, got 65"),
        ({"coupling": "x"}, "coupling must be affine or gin, got 'x'"),
        ({"batch_size": 0}, "batch_size must be above 0, got 0"),
    ],
)
def test_fits_that_cannot_be_are_refused(
    tmp_path: Path, public: Path, tiny_options: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit("cadp", public, tmp_path / "model", **{**tiny_options, **options})


def test_a_fit_is_continued(tmp_path: Path, public: Path, tiny_options: dict[str, Any]) -> None:
    whole = fit("cadp", public, tmp_path / "whole", keep=4, **tiny_options)

    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        fit("cadp", public, tmp_path / "parts", keep=4, on_progress=stop, **tiny_options)
    parts = fit("cadp", public, tmp_path / "parts", keep=4, resume=True, **tiny_options)
    assert parts.card.weights_sha256 == whole.card.weights_sha256


def test_another_model_s_directions_are_refused(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in model.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    tensors = next(folder.glob("directions-*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:-8])
    with pytest.raises(ValueError, match="must have the SHA-256"):
        load_method(folder)


def test_the_released_mechanism_passes_its_audit(cadp: CADP) -> None:
    found = audit(subject_of(cadp.calibrated(Claim.of("2"))), trials=4000)
    assert found.passed, found.failures


def test_the_network_of_the_chest_x_rays_is_small() -> None:
    flow = ConditionalGlow(GlowConfig(size=64, levels=4, steps=8, width=64), ConditionConfig(categorical=(2,)))
    assert sum(parameter.numel() for parameter in flow.parameters()) < 10_000_000


def test_a_release_lies_outside_its_images(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(ValueError, match="RELEASE must lie outside IMAGES"):
        release(folder, model, "4", folder / "release", ledger=tmp_path / "l.sqlite")
    assert not (folder / "release").exists()


@pytest.mark.parametrize("count", [1, 10**8])
def test_too_few_or_too_many_candidates_are_refused(cadp: CADP, count: int) -> None:
    with pytest.raises(ValueError, match="candidates must be between 2 and 65,536"):
        cadp.calibrated(Claim.of("4"), "selection", candidates=count)
