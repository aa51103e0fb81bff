"""Collections: walking, scanning, reading, choosing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from veilray.images import (
    Collection,
    EmptyCollectionError,
    Geometry,
    Limits,
    Unreadable,
    fit,
    restore,
    write_image,
)

GREY8 = Geometry(8)


@pytest.fixture
def tree(tmp_path, picture):
    """Two classes, 8 and 16 bits, grey and RGB; cats/2 repeats cats/0."""
    root = tmp_path / "tree"
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
    write_image(root / "cats" / "0.png", picture((6, 8), seed=0))
    write_image(root / "cats" / "1.png", picture((8, 8), 16, seed=1))
    write_image(root / "cats" / "2.png", picture((6, 8), seed=0))
    write_image(root / "dogs" / "ü.png", picture((3, 9, 5), seed=3))
    return root


def quarantine(collection):
    return {entry.source: entry.reason for entry in collection.quarantine}


def test_a_folder_tree_is_listed_in_order_with_its_labels(tree):
    with Collection.open(tree) as collection:
        assert [ref.source for ref in collection.refs] == ["cats/0.png", "cats/1.png", "cats/2.png", "dogs/ü.png"]
        assert [ref.index for ref in collection.refs] == [0, 1, 2, 3]
        assert collection.labels == ("cats", "dogs")
        last = collection.refs[3]
        assert (last.height, last.width, last.channels, last.bits) == (9, 5, 3, 8)
        assert (last.patient, last.group) == (None, "image:dogs/ü.png#0")
        assert collection.unidentified == 4
        assert collection.patients() == {}


def test_a_repr_names_no_source_and_no_patient(tree):
    with Collection.open(tree) as collection:
        assert "cats" not in repr(collection.refs[0])
        assert "image:" not in repr(collection.refs[0])


def test_refs_are_hashable_and_picklable(tree):
    with Collection.open(tree) as collection:
        assert pickle.loads(pickle.dumps(collection.refs)) == collection.refs
        assert len(set(collection.refs)) == 4


def test_what_is_no_image_is_put_in_quarantine_with_a_reason(tree, claiming_png, picture):
    (tree / ".DS_Store").write_bytes(b"x")
    (tree / ".hidden").mkdir()
    (tree / "notes.md").write_text("x")
    (tree / "noextension").write_text("x")
    (tree / "empty.png").write_bytes(b"")
    (tree / "bomb.png").write_bytes(claiming_png(60_000, 60_000))
    (tree / "link.png").symlink_to("/etc/hostname")
    (tree / "links").symlink_to("/etc")
    (tree / "x.png").mkdir()
    (tree / "x.png" / "inside.png").write_bytes((tree / "cats" / "1.png").read_bytes())
    os.mkfifo(tree / "pipe.png")
    Image.new("CMYK", (4, 4)).save(tree / "c.jpg")
    tifffile.imwrite(tree / "f.tif", np.full((4, 4), np.nan, np.float32))
    np.savez(tree / "f.npz", images=np.zeros((2, 4, 4)))
    with open(os.fsencode(tree) + b"/\xff.png", "wb") as file:  # noqa: PTH123  pathlib takes no bytes
        file.write(b"x")
    with Collection.open(tree) as collection:
        assert [ref.source for ref in collection.refs][-1] == "x.png/inside.png"
        assert len(collection) == 5
        reasons = quarantine(collection)
    expected = {
        "notes.md": "extension must be one of",
        "noextension": "got none",
        "empty.png": "0 bytes",
        "bomb.png": "rows x columns must be",
        "link.png": "symbolic link",
        "links": "symbolic link",
        "pipe.png": "ordinary file",
        "c.jpg": "CMYK",
        "f.tif": "floating point",
        "f.npz": "uint8 or uint16, got float64",
        "\\udcff.png": "UTF-8",
    }
    assert set(reasons) == set(expected)
    for name, text in expected.items():
        assert text in reasons[name], name


def test_a_path_that_no_rule_matches_is_put_in_quarantine(tree):
    with pytest.raises(EmptyCollectionError, match="no rule of layout kermany matches"):
        Collection.open(tree, layout="kermany")


def test_limits_put_files_in_quarantine(tree):
    with Collection.open(tree, limits=Limits(max_pixels=48)) as collection:
        assert [ref.source for ref in collection.refs] == ["cats/0.png", "cats/2.png", "dogs/ü.png"]
    with pytest.raises(EmptyCollectionError):
        Collection.open(tree, limits=Limits(max_file_bytes=10))


@pytest.mark.parametrize("limits", [{"max_pixels": 0}, {"max_images": 1.5}, {"max_path": 2_000}, {"max_pixels": 10**9}])
def test_limits_that_cannot_be_kept_are_refused(limits):
    with pytest.raises(ValueError, match="must be"):
        Limits(**limits)


def test_a_scan_finds_equal_pixels_and_mixed_depths(tree):
    seen = []
    with Collection.open(tree) as collection:
        with pytest.raises(ValueError, match=r"call scan\(\)"):
            collection.duplicates  # noqa: B018
        scan = collection.scan(progress=lambda done, total: seen.append((done, total)))
        assert (scan.images, scan.quarantined, scan.duplicates, scan.surplus) == (4, 0, 1, 1)
        assert scan.bits == {8: 3, 16: 1}
        assert scan.channels == {1: 3, 3: 1}
        assert collection.duplicates == ((0, 2),)
        assert [ref.source for ref in collection.without_duplicates().refs][-1] == "dogs/ü.png"
        assert collection.subset([2, 0]).duplicates == ((0, 1),)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_equal_bytes_of_another_shape_are_no_duplicates(tmp_path, picture):
    image = picture((4, 6))
    write_image(tmp_path / "a.png", image)
    write_image(tmp_path / "b.png", image.reshape(6, 4))
    with Collection.open(tmp_path) as collection:
        assert collection.scan().duplicates == 0


def test_a_scan_puts_files_that_do_not_decode_in_quarantine(tree):
    path = tree / "cats" / "1.png"
    path.write_bytes(path.read_bytes()[:100])
    with Collection.open(tree) as collection:
        assert len(collection) == 4
        scan = collection.scan()
        assert (scan.images, scan.quarantined) == (3, 1)
        assert [ref.index for ref in collection.refs] == [0, 1, 2]
        assert quarantine(collection) == {"cats/1.png": "cannot be decoded: truncated or damaged"}
        assert collection.scan() == scan


def test_a_damaged_page_is_put_in_quarantine_alone(tree, picture):
    with tifffile.TiffWriter(tree / "pages.tif") as writer:
        for page in range(3):
            writer.write(picture((32, 32), seed=page), photometric="minisblack", compression="zlib")
    content = bytearray((tree / "pages.tif").read_bytes())
    with tifffile.TiffFile(tree / "pages.tif") as file:
        offset, count = file.pages[2].dataoffsets[0], file.pages[2].databytecounts[0]
    content[offset : offset + count] = bytes(count)
    (tree / "pages.tif").write_bytes(content)
    with Collection.open(tree) as collection:
        assert len(collection) == 7
        assert collection.scan().images == 6
        assert [(entry.source, entry.reason) for entry in collection.quarantine] == [
            ("pages.tif, page 3", "cannot be decoded: truncated or damaged")
        ]
        assert [ref.frame for ref in collection.refs if ref.source == "pages.tif"] == [0, 1]


def test_nothing_left_after_a_scan_is_an_error(tmp_path, picture):
    write_image(tmp_path / "a.png", picture((20, 20)))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:100])
    with Collection.open(tmp_path) as collection, pytest.raises(EmptyCollectionError):
        collection.scan()


def test_a_file_changed_since_opening_is_put_in_quarantine(tree, picture):
    with Collection.open(tree) as collection:
        (tree / "cats" / "0.png").unlink()
        write_image(tree / "cats" / "0.png", picture((6, 9)))
        collection.scan()
        assert "changed" in quarantine(collection)["cats/0.png"]


def test_read_fits_the_geometry(tree, picture):
    with Collection.open(tree) as collection:
        assert np.array_equal(collection.read(collection.refs[1], GREY8), fit(picture((8, 8), 16, seed=1), GREY8))
        original = collection.read_original(collection.refs[3])
        assert np.array_equal(original, picture((3, 9, 5), seed=3))
        fitted = collection.read(collection.refs[3], Geometry(9, 3))
        assert np.array_equal(restore(fitted, collection.refs[3].original), original)


def test_batches_cover_all_images_in_order(tree):
    with Collection.open(tree) as collection:
        batches = list(collection.batches(GREY8, 3))
        assert [len(refs) for refs, _ in batches] == [3, 1]
        assert [pixels.shape for _, pixels in batches] == [(3, 1, 8, 8), (1, 1, 8, 8)]
        assert batches[0][1].dtype == np.uint8
        assert [ref.index for refs, _ in batches for ref in refs] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "pages.tif"])
def test_batches_in_any_order_give_the_right_pixels(tmp_path, picture, name):
    images = picture((50, 6, 6))
    if name == "a.npz":
        np.savez_compressed(tmp_path / name, images=images)
    elif name == "a.npy":
        np.save(tmp_path / name, images)
    else:
        tifffile.imwrite(tmp_path / name, images, photometric="minisblack")
    order = np.random.default_rng(0).permutation(50)
    with Collection.open(tmp_path / name) as collection:
        got = np.concatenate([pixels for _, pixels in collection.batches(Geometry(6), 7, order)])
    assert np.array_equal(got[:, 0], images[order])


@pytest.mark.parametrize(("size", "indices"), [(0, None), (2, [4]), (2, [-1])])
def test_batches_refuse_what_they_cannot_give(tree, size, indices):
    with Collection.open(tree) as collection, pytest.raises(ValueError, match="must be"):
        list(collection.batches(GREY8, size, indices))


def test_subsets_are_numbered_anew(tree):
    with Collection.open(tree) as collection:
        dogs = collection.select(label="dogs")
        assert [(ref.index, ref.source) for ref in dogs.refs] == [(0, "dogs/ü.png")]
        assert [ref.source for ref in collection.subset([3, 0]).refs] == ["dogs/ü.png", "cats/0.png"]
        assert len(collection.subset(lambda ref: ref.bits == 16)) == 1
        assert len(collection.select(split="train")) == 0
        for wrong in ([0, 0], [9]):
            with pytest.raises(ValueError, match="must be"):
                collection.subset(wrong)


def test_select_by_condition(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((4, 4, 4)), sex=np.array(list("FMFM")), label=np.arange(4))
    with Collection.open(tmp_path / "a.npz") as collection:
        assert collection.condition_names == ("sex",)
        assert [ref.label for ref in collection.select(sex="M").refs] == ["1", "3"]
        assert [ref.label for ref in collection.select(sex="M", label="3").refs] == ["3"]


def test_patients_are_counted(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((5, 4, 4)), patient=np.array(["b", "a", "b", "", "b"]))
    with Collection.open(tmp_path / "a.npz") as collection:
        assert collection.patients() == {"b": 3, "a": 1}
        assert collection.unidentified == 1
        assert [ref.group for ref in collection.refs][:4] == ["b", "a", "b", "image:a.npz#3"]


def test_pages_of_one_tiff_are_one_patient(tmp_path, picture):
    tifffile.imwrite(tmp_path / "a.tif", picture((5, 4, 4)), photometric="minisblack")
    with Collection.open(tmp_path) as collection:
        assert collection.patients() == {}
        assert collection.unidentified == 5
        assert {ref.group for ref in collection.refs} == {"file:a.tif"}


def test_a_file_speaks_before_its_folder(tmp_path, picture):
    (tmp_path / "x").mkdir()
    np.savez(tmp_path / "x" / "a.npz", images=picture((2, 4, 4)), label=np.array(["own", ""]))
    with Collection.open(tmp_path) as collection:
        assert [ref.label for ref in collection.refs] == ["own", "x"]


def test_to_memmap_writes_every_image_for_the_owner_only(tree, tmp_path):
    seen = []
    with Collection.open(tree) as collection:
        pixels = collection.to_memmap(GREY8, tmp_path, progress=lambda done, total: seen.append((done, total)))
        (expected,) = [pixels for _, pixels in collection.batches(GREY8, 9)]
    assert isinstance(pixels, np.memmap)
    assert not pixels.flags.writeable
    assert np.array_equal(pixels, expected)
    assert (tmp_path / "pixels.npy").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "pixels" in path.name] == ["pixels.npy"]
    assert seen[-1] == (4, 4)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to count open files")
def test_many_array_files_do_not_exhaust_descriptors(tmp_path, picture):
    for index in range(50):
        np.savez_compressed(tmp_path / f"{index:02d}.npz", images=picture((2, 4, 4), seed=index))
    before = open_files()
    with Collection.open(tmp_path) as collection:
        got = np.concatenate([pixels for _, pixels in collection.batches(Geometry(4), 10)])
        assert open_files() - before <= 70
    assert open_files() == before
    assert np.array_equal(got[98:, 0], picture((2, 4, 4), seed=49))


def test_a_closed_collection_reads_nothing(tree):
    with Collection.open(tree) as collection:
        pass
    with pytest.raises(ValueError, match="got a closed one"):
        collection.read(collection.refs[0], GREY8)


def test_a_file_damaged_later_is_refused_without_its_name(tree):
    with Collection.open(tree) as collection:
        (tree / "cats" / "0.png").write_bytes(b"x")
        with pytest.raises(Unreadable) as caught:
            collection.read(collection.refs[0], GREY8)
        assert "cats" not in str(caught.value)


@pytest.mark.parametrize("name", ["none", "none.npz", "notes.md"])
def test_what_is_no_collection_is_an_error(tmp_path, name):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(ValueError, match="images must be"):
        Collection.open(tmp_path / name)


def test_an_empty_folder_is_an_error_with_the_cure(tmp_path):
    with pytest.raises(ValueError, match=r"got 0 .none found.: point to a folder of PNG"):
        Collection.open(tmp_path)


def test_a_single_image_is_a_collection(tree):
    with Collection.open(tree / "cats" / "0.png") as collection:
        assert [(ref.source, ref.label) for ref in collection.refs] == [("0.png", None)]
