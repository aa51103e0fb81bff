"""A release opened by whoever received it: arrays, a torch data set, the code of pictures of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pooled import PooledMethod
from torch.utils.data import DataLoader, Dataset

import veilray
from veilray.images import Collection, Geometry, fit
from veilray.methods import DPGlow
from veilray.privacy import Claim
from veilray.releases.dataset import OpenedRelease, open_release

ReleaseOf = Callable[..., Path]


@pytest.fixture
def opened(pooled: PooledMethod, release_of: ReleaseOf) -> OpenedRelease:
    return open_release(release_of(pooled, 8, label="public"))


def test_it_holds_everything_in_one_order(opened: OpenedRelease, pooled: PooledMethod) -> None:
    assert opened.images.shape == (8, 1, 8, 8)
    assert opened.images.dtype == np.uint8
    assert np.array_equal(pooled.decode(opened.features()), opened.images)
    assert opened.labels == [Path(path).parts[1] for path in opened.paths]
    assert opened.conditions == {"label": opened.labels}
    assert opened.guarantee.epsilon == 8
    assert opened.model == pooled.card
    assert "8 pictures" in repr(opened)


def test_it_is_a_data_set_of_tensors(opened: OpenedRelease) -> None:
    assert isinstance(opened, Dataset)
    assert len(opened) == len(list(opened)) == 8
    item = opened[3]
    assert item["image"].dtype == item["code"].dtype == torch.float32
    assert torch.equal(item["image"], torch.from_numpy(opened.images[3]).float() / 255)
    assert np.allclose(item["code"], opened.codes[3])
    assert opened.classes[item["label"]] == opened.labels[3]
    assert torch.equal(opened[-1]["image"], opened[7]["image"])
    with pytest.raises(IndexError):
        opened[8]


def test_classes_are_the_models_public_levels_so_that_releases_agree(opened: OpenedRelease) -> None:
    assert opened.classes == ["NORMAL", "OTHER", "PNEUMONIA"]


def test_a_loader_with_workers_reads_the_same(opened: OpenedRelease) -> None:
    (batch,) = DataLoader(opened, batch_size=8, num_workers=2)
    assert batch["image"].shape == (8, 1, 8, 8)
    assert torch.equal(batch["image"], torch.from_numpy(opened.images).float() / 255)
    assert batch["label"].dtype == torch.int64
    assert batch["code"].shape == (8, 4)


def test_features_are_the_codes_on_the_scale_of_clean_ones(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    opened = open_release(release_of(pooled, 3, epsilon="1", mechanism="laplace"))
    mechanism = pooled.calibrated(Claim.of("1"), "laplace")
    assert np.array_equal(opened.features(), mechanism.to_prior(opened.codes))
    assert not np.array_equal(opened.features(), opened.codes)


def test_pictures_of_ones_own_are_encoded_in_any_size(opened: OpenedRelease, pooled: PooledMethod) -> None:
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (5, 20, 14), dtype=np.uint8)
    expected = pooled.code.encode(np.stack([fit(picture, Geometry(8)) for picture in large]))
    assert np.array_equal(opened.encode(large), expected)
    assert np.array_equal(opened.encode(large[:, None]), expected)
    assert np.array_equal(opened.encode(list(large)), expected)
    assert np.array_equal(opened.encode(large[:0]), np.empty((0, 4)))
    colour = np.repeat(large[..., None], 3, axis=3)
    assert np.array_equal(opened.encode(list(colour)), expected)
    with pytest.raises(ValueError, match="images must be"):
        opened.encode(large[0])


def test_a_collection_of_ones_own_is_encoded(tmp_path: Path, opened: OpenedRelease, pooled: PooledMethod) -> None:
    collection = Collection.open(tmp_path / "source")
    ((_, pixels),) = collection.batches(Geometry(8), len(collection))
    assert np.array_equal(opened.encode(collection), pooled.code.encode(pixels))


def test_withheld_labels_are_none(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    opened = open_release(release_of(pooled, 2))
    assert opened.labels is None
    assert opened.classes == []
    assert set(opened[0]) == {"image", "code"}


def test_a_release_of_pictures_alone_opens_and_says_that_it_has_no_code(method: DPGlow, release_of: ReleaseOf) -> None:
    opened = open_release(release_of(method, 3, mechanism="laplace"))
    assert opened.images.shape == (3, 1, 8, 8)
    assert opened.codes is None
    assert opened.mechanism is None
    assert set(opened[0]) == {"image"}
    for ask in (opened.features, lambda: opened.encode(opened.images)):
        with pytest.raises(ValueError, match="RELEASE must keep a code"):
            ask()


def test_kept_source_geometry_is_brought_to_the_models(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    opened = open_release(release_of(pooled, 2, keep_geometry=True))
    assert opened.images.shape == (2, 1, 8, 8)


def test_a_fresh_process_rebuilds_the_mechanism_and_its_likelihood(pooled: PooledMethod, release_of: ReleaseOf) -> None:
    folder = release_of(pooled, 4, mechanism="directional", form="sphere")
    code = """
        import json, sys
        sys.path.insert(0, sys.argv[1])
        import pooled
        pooled.register()
        import veilray
        release = veilray.open_release(sys.argv[2])
        own = release.encode(release.images)
        print(json.dumps(release.mechanism.log_likelihood(release.codes, own).tolist()))
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(Path(__file__).parent), str(folder)]
    run = subprocess.run(arguments, check=True, capture_output=True, timeout=120, text=True)
    mechanism = pooled.calibrated(Claim.of("8"), form="sphere")
    opened = veilray.open_release(folder)
    expected = mechanism.log_likelihood(np.load(folder / "codes.npy"), pooled.encode(opened.images))
    assert json.loads(run.stdout) == expected.tolist()


def test_the_main_job_hands_over_what_a_recipient_needs(tmp_path: Path, pooled: PooledMethod) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=pictures)
    pooled.save(tmp_path / "model")
    veilray.release(
        tmp_path / "images.npz",
        tmp_path / "model",
        "16",
        tmp_path / "out",
        mechanism_option={"blocks": "2"},
        ledger=tmp_path / "ledger.sqlite",
    )
    opened = veilray.open_release(tmp_path / "out")
    assert opened.codes.shape == (5, 4)
    assert opened.mechanism.guarantee(4).parameters["blocks"] == "2"
    assert (tmp_path / "out" / "DATASET.md").exists()


def test_an_option_given_twice_is_refused(tmp_path: Path, pooled: PooledMethod) -> None:
    pooled.save(tmp_path / "model")
    with pytest.raises(ValueError, match="clip must be given by its own option"):
        veilray.release("x", tmp_path / "model", "1", tmp_path / "out", mechanism_option={"clip": "2"}, clip="2")
