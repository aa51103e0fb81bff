"""One battery of properties for every kept code. A new code is one line in `FITS`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from veilray.codes import CONTENTS, KEPT_CODES, ContentCode, KeptCode, LatentCode, load_code, save_code
from veilray.flows import Glow

from .conftest import FITS, KEEP

Pictures = NDArray[np.uint8]


def nested(code: KeptCode, keep: int) -> ContentCode | LatentCode:
    assert isinstance(code, ContentCode | LatentCode)
    return code.first(keep)


def test_the_battery_has_every_registered_code() -> None:
    assert set(FITS) == (set(KEPT_CODES) - {"content"}) | set(CONTENTS)


def test_a_code_is_rows_of_float64(code: KeptCode, others: Pictures) -> None:
    rows = code.encode(others)
    assert rows.shape == (len(others), KEEP) == (len(others), code.dimension)
    assert rows.dtype == np.float64
    assert np.isfinite(rows).all()


def test_no_pictures_give_no_rows(code: KeptCode, others: Pictures) -> None:
    assert code.encode(others[:0]).shape == (0, KEEP)


def test_no_row_depends_on_another(code: KeptCode, others: Pictures) -> None:
    rows = code.encode(others)
    for index in (0, 7):
        assert np.allclose(code.encode(others[index : index + 1])[0], rows[index], rtol=0, atol=1e-5)
    assert np.allclose(code.encode(others[::-1].copy()), rows[::-1], rtol=0, atol=1e-5)
    black = np.zeros_like(others)
    black[5] = others[5]
    assert np.allclose(code.encode(black)[5], rows[5], rtol=0, atol=1e-5)


def test_public_images_have_mean_0_and_variance_1(code: KeptCode, public: Pictures) -> None:
    rows = code.encode(public)
    assert np.allclose(rows.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(rows.std(axis=0, ddof=1), 1, atol=1e-5)


def test_different_pictures_have_different_codes(code: KeptCode, others: Pictures) -> None:
    rows = code.encode(others)
    assert len(np.unique(rows.round(6), axis=0)) == len(others)


@pytest.mark.parametrize("keep", [1, KEEP - 1, KEEP])
def test_first_is_the_first_columns(code: KeptCode, others: Pictures, keep: int) -> None:
    fewer = nested(code, keep)
    assert fewer.dimension == fewer.reference.dimension == keep
    assert np.allclose(fewer.encode(others), code.encode(others)[:, :keep], rtol=0, atol=1e-12)


@pytest.mark.parametrize("keep", [0, KEEP + 1])
def test_first_refuses_more_than_there_are(code: KeptCode, keep: int) -> None:
    with pytest.raises(ValueError, match=f"keep must be between 1 and {KEEP}, got {keep}"):
        nested(code, keep)


@pytest.mark.parametrize("keep", [2, KEEP])
def test_saved_and_loaded_is_bit_equal(code: KeptCode, others: Pictures, keep: int, tmp_path: Path) -> None:
    before = nested(code, keep)
    save_code(before, tmp_path)
    after = load_code(tmp_path)
    assert type(after) is type(before)
    assert (after.shape, after.bits, after.dimension) == (before.shape, before.bits, keep)
    assert np.array_equal(after.encode(others), before.encode(others))
    reference = nested(after, keep).reference
    assert np.array_equal(reference.log_density(np.eye(keep)), before.reference.log_density(np.eye(keep)))


def test_saving_twice_gives_the_same_hash(code: KeptCode, tmp_path: Path) -> None:
    assert save_code(code, tmp_path / "a") == save_code(code, tmp_path / "b")
    assert save_code(load_code(tmp_path / "a"), tmp_path / "c") == save_code(code, tmp_path / "b")


def test_the_hash_changes_with_the_weights(code: KeptCode, tmp_path: Path) -> None:
    before = save_code(code, tmp_path / "before")
    tensors = {name: tensor for name, tensor in code.tensors().items() if tensor.is_floating_point()}
    assert {"mean", "reference.weights"} <= tensors.keys()
    for name in {"mean", "reference.weights", *list(tensors)[::8]} - {"directions"}:  # test_latent turns those
        changed = tensors[name].clone(memory_format=torch.contiguous_format)
        changed.view(-1)[0] += 1
        after = code.restored(code.config(), {**code.tensors(), name: changed})
        assert save_code(after, tmp_path / name) != before, name


@pytest.mark.parametrize("name", FITS)
def test_is_deterministic_for_a_seed(
    name: str, fitted: dict[str, KeptCode], public: Pictures, flow: Glow, others: Pictures
) -> None:
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    again = FITS[name](public, flow, 0)
    assert torch.equal(torch.random.get_rng_state(), state), "a fit must leave the global generator alone"
    assert np.array_equal(again.encode(others), fitted[name].encode(others))


@pytest.mark.parametrize("name", sorted(set(FITS) - {"pixels"}))
def test_another_seed_is_another_fit(
    name: str, fitted: dict[str, KeptCode], public: Pictures, flow: Glow, others: Pictures
) -> None:
    assert not np.allclose(FITS[name](public, flow, 1).encode(others), fitted[name].encode(others), atol=1e-4)


def test_pictures_of_another_shape_are_refused(code: KeptCode, others: Pictures) -> None:
    for wrong in (others[:, :, :7], others[0], np.repeat(others, 2, axis=1)):
        with pytest.raises(ValueError, match=r"images must be \(n, 1, 8, 8\)"):
            code.encode(wrong)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64])
def test_pictures_of_another_type_are_refused(code: KeptCode, others: Pictures, dtype: type) -> None:
    with pytest.raises(ValueError, match=r"images of 8 bits must be torch\.uint8"):
        code.encode(others.astype(dtype))


@pytest.mark.parametrize("name", FITS)
def test_too_few_public_images_are_refused(name: str, public: Pictures, flow: Glow) -> None:
    with pytest.raises(ValueError, match="public images must be 20 or more to fit a code, got 19"):
        FITS[name](public[:19], flow, 0)
