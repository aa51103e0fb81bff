"""The directional method on disk: what was fitted is what is loaded, and nothing else is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import veilray
from veilray.codes import ContentCode
from veilray.methods import DirectionalRelease, load_method
from veilray.methods.directional import KeptCodeMethod
from veilray.privacy import Claim, SeededEntropy
from veilray.releases import Method, ReleaseContext, read_card

TinyFit = Callable[..., Path]
CODES = {
    "pixels": {"content": "pixels"},
    "vae": {"content": "vae", "code_epochs": 1},
    "invariant": {"content": "invariant", "code_epochs": 1},
    "gram": {"code": "gram"},
    "levels": {"code": "levels"},
}
HASHED = ("code.json", "code-*.safetensors", "flow.json", "weights-*.safetensors")


def pictures_of(method: Method, images: np.ndarray) -> np.ndarray:
    mechanism = method.calibrated(Claim.of("4"))
    return method.release(images, ReleaseContext(mechanism, SeededEntropy(3))).pixels


@pytest.fixture
def copied(directional_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(directional_model, tmp_path / "model"))


@pytest.mark.parametrize("name", CODES)
def test_saved_and_loaded_it_gives_the_same_codes_and_pictures(
    tiny_fit: TinyFit, public_digits: Path, private_digits: np.ndarray, tmp_path: Path, name: str
) -> None:
    loaded = load_method(tiny_fit("directional", keep=4, **CODES[name]))
    assert isinstance(loaded, DirectionalRelease)
    loaded.save(tmp_path / "again")
    again = load_method(tmp_path / "again")
    assert isinstance(again, DirectionalRelease)
    assert again.card == loaded.card
    assert again.domain == loaded.domain
    assert np.array_equal(again.encode(private_digits), loaded.encode(private_digits))
    assert np.array_equal(pictures_of(again, private_digits), pictures_of(loaded, private_digits))
    assert np.array_equal(again.domain_scores(private_digits), loaded.domain_scores(private_digits))


def test_what_fit_returns_is_what_is_loaded(
    public_digits: Path, private_digits: np.ndarray, tmp_path: Path, tiny_options: dict[str, object]
) -> None:
    fitted = veilray.fit("directional", public_digits, tmp_path / "m", content="pixels", keep=3, **tiny_options)
    loaded = load_method(tmp_path / "m")
    assert loaded.card == fitted.card
    assert np.array_equal(pictures_of(loaded, private_digits), pictures_of(fitted, private_digits))


@pytest.mark.parametrize("name", CODES)
def test_it_is_what_it_says(tiny_fit: TinyFit, name: str, private_digits: np.ndarray) -> None:
    method = load_method(tiny_fit("directional", keep=4, **CODES[name]))
    assert isinstance(method, KeptCodeMethod)
    assert method.dimension == method.kept_code.dimension == method.card.figures["kept"] == 4
    assert (method.geometry.size, method.geometry.channels, method.geometry.bits) == (8, 1, 8)
    assert method.card.configuration["code"] == CODES[name].get("code", "content")
    assert method.card.configuration.get("content") == CODES[name].get("content")
    assert method.card.configuration["kept_for_epsilon"] == "given"
    assert method.card.levels_of == {"label": ("even", "odd")}
    codes = method.encode(private_digits)
    assert (codes.shape, codes.dtype) == ((96, 4), np.float64)
    assert np.array_equal(method.encode(private_digits[::-1].copy())[::-1], codes)
    decoded = method.decode(codes)
    assert (decoded.shape, decoded.dtype) == (private_digits.shape, np.uint8)
    assert np.array_equal(method.decode(codes), decoded)


def test_own_images_are_inside_the_models_domain_and_noise_is_not(
    tiny_fit: TinyFit, private_digits: np.ndarray
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
    for name in ("pixels", "levels"):
        method = load_method(tiny_fit("directional", keep=4, **CODES[name]))
        assert isinstance(method, KeptCodeMethod)
        own, other = (method.domain.separation(method.domain_scores(images)) for images in (private_digits, noise))
        assert own < 0.5
        assert other > 0.8


def test_the_flow_is_never_told_the_code_of_the_image_it_scores(
    directional: DirectionalRelease, private_digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContentCode, "encode", lambda *_: pytest.fail("a code was computed"))
    assert directional.domain_scores(private_digits).shape == (96,)


@pytest.mark.parametrize("name", [*HASHED, "domain.json", "model.json"])
@pytest.mark.parametrize("harm", ["missing", "empty", "cut"])
def test_a_missing_or_cut_file_is_named(copied: Path, name: str, harm: str) -> None:
    (path,) = copied.glob(name)
    content = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(content[: len(content) // 2 if harm == "cut" else 0])
    with pytest.raises(ValueError, match="must") as error:
        load_method(copied)
    assert path.name in str(error.value)


@pytest.mark.parametrize("name", ["code-*.safetensors", "weights-*.safetensors"])
def test_altered_weights_are_refused(copied: Path, name: str) -> None:
    (path,) = copied.glob(name)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        load_method(copied)


@pytest.mark.parametrize("name", ["code.json", "flow.json"])
def test_parts_of_another_model_are_refused(copied: Path, tiny_fit: TinyFit, name: str) -> None:
    other = tiny_fit("directional", keep=4, **CODES["vae"])
    prefix = "code" if name == "code.json" else "weights"
    for path in other.glob(f"{prefix}-*.safetensors"):
        shutil.copy(path, copied)
    shutil.copy(other / name, copied)
    with pytest.raises(ValueError, match="weights its model card tells of"):
        load_method(copied)


def test_json_that_is_altered_is_refused(copied: Path) -> None:
    code = (copied / "code.json").read_text()
    (copied / "code.json").write_text(code + " ")
    with pytest.raises(ValueError, match="weights its model card tells of"):
        load_method(copied)
    (copied / "code.json").write_text(code)
    card = json.loads((copied / "model.json").read_text())
    (copied / "model.json").write_text(json.dumps({**card, "weights_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="weights its model card tells of"):
        load_method(copied)


@pytest.mark.parametrize("told", ["[]", "null", '{"percentiles": [3, 2], "images": 4}', "\u0000"])
def test_a_domain_that_is_none_is_refused(copied: Path, told: str) -> None:
    (copied / "domain.json").write_text(told)
    with pytest.raises(ValueError, match=r"domain\.json must be the domain"):
        load_method(copied)


def test_a_code_that_no_flow_goes_with_is_refused(copied: Path) -> None:
    (copied / "flow.json").unlink()
    shutil.rmtree(copied / "checkpoint")
    with pytest.raises(ValueError, match=r"flow\.json"):
        load_method(copied)


def test_nothing_in_the_folder_is_a_picture(directional_model: Path, public_digits: Path) -> None:
    everything = b"".join(path.read_bytes() for path in directional_model.rglob("*") if path.is_file())
    with np.load(public_digits) as public:
        assert not any(image.tobytes() in everything for image in public["images"])
    assert read_card(directional_model).training_images == 216
