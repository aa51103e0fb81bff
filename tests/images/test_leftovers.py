"""An original counts once: what devices and programs leave beside it, or put into its file, is no image."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from veilray.images import Collection, EmptyCollectionError, write_image
from veilray.images.leftovers import left_by_device


@pytest.fixture
def scan(picture):
    return lambda seed=0, side=32: picture((side, side), seed=seed)


def names(collection):
    return [ref.source for ref in collection.refs]


@pytest.mark.parametrize(
    ("folder", "entry"),
    [
        ("@eaDir", "@eaDir"),
        ("#recycle", "#recycle"),
        ("__macosx", "__MACOSX"),
        ("$RECYCLE.BIN", "$RECYCLE.BIN"),
        ("My Previews.lrdata", "*.lrdata"),
        (".picasaoriginals", ".picasaoriginals"),
        (".Trash-1000", ".Trash-*"),
        ("System Volume Information", "System Volume Information"),
    ],
)
def test_folders_of_devices_are_skipped_and_counted(tmp_path, scan, folder, entry):
    for place in (tmp_path / "NORMAL", tmp_path / "NORMAL" / folder / "a.png"):
        place.mkdir(parents=True)
        write_image(place / "b.png", scan())
    with Collection.open(tmp_path) as collection:
        assert names(collection) == ["NORMAL/b.png"]
        assert collection.quarantine == []
        assert collection.skipped == {entry: 1}


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        ("Thumbs.db", "Thumbs.db"),
        ("THUMBS.DB", "Thumbs.db"),
        ("desktop.ini", "desktop.ini"),
        ("._a.png", "._*"),
        (".DS_Store", ".DS_Store"),
        ("SYNOPHOTO_THUMB_M.jpg", "SYNOPHOTO_THUMB_*"),
        ("ehthumbs.db", "ehthumbs.db"),
        ("Icon\r", "Icon\r"),
        (".hidden.png", "hidden files and folders"),
    ],
)
def test_files_of_devices_are_skipped_and_counted(tmp_path, scan, file, entry):
    write_image(tmp_path / "a.png", scan())
    (tmp_path / file).write_bytes(b"x")
    with Collection.open(tmp_path) as collection:
        assert (len(collection), collection.quarantine, collection.skipped) == (1, [], {entry: 1})


@pytest.mark.parametrize("name", ["NORMAL", "thumb", "recycle", "eaDir", "Müller", "正常"])
def test_folders_of_people_are_no_leftovers(name):
    assert left_by_device(name, folder=True) is None


def test_a_manifest_that_lists_a_copy_is_told(tmp_path, scan):
    (tmp_path / "@eaDir" / "a.png").mkdir(parents=True)
    write_image(tmp_path / "a.png", scan())
    write_image(tmp_path / "@eaDir" / "a.png" / "SYNOPHOTO_THUMB_M.png", scan(1))
    (tmp_path / "m.csv").write_text("path\na.png\n@eaDir/a.png/SYNOPHOTO_THUMB_M.png\n")
    with Collection.open(tmp_path / "m.csv") as collection:
        assert names(collection) == ["a.png"]
        assert "leaves beside originals (@eaDir): take its row out" in collection.quarantine[0].reason


def test_a_folder_of_leftovers_alone_is_empty(tmp_path):
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    with pytest.raises(EmptyCollectionError, match="none found"):
        Collection.open(tmp_path)


@pytest.mark.parametrize("kind", [1, 4, 5], ids=["reduced", "mask", "mask of a reduced copy"])
def test_overviews_and_masks_among_the_pages_are_no_images(tmp_path, scan, kind):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(scan(1), photometric="minisblack")
        copy = scan(2, 16) if kind == 1 else scan(2, 16) > 99
        writer.write(copy, photometric="minisblack", subfiletype=kind)
        writer.write(scan(3), photometric="minisblack", subfiletype=2)
    with Collection.open(tmp_path) as collection:
        assert collection.scan().images == 2
        assert np.array_equal(collection.read_original(collection.refs[1])[0], scan(3))
        assert collection.skipped == {"reduced copies, masks and previews within files": 1}


def test_sub_directories_of_a_pyramid_are_no_images(tmp_path, scan):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(scan(), photometric="minisblack", subifds=1)
        writer.write(scan(0, 16), photometric="minisblack", subfiletype=1)
    with Collection.open(tmp_path) as collection:
        assert collection.scan().images == 1


def test_reduced_copies_alone_are_refused(tmp_path, scan):
    tifffile.imwrite(tmp_path / "a.tif", scan(), photometric="minisblack", subfiletype=1)
    with pytest.raises(EmptyCollectionError, match="full resolution"):
        Collection.open(tmp_path)


def test_an_mpo_is_its_first_picture(tmp_path, scan):
    image = Image.fromarray(scan())
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image.resize((8, 8))], quality=100)
    with Collection.open(tmp_path) as collection:
        assert collection.scan().sizes == {(32, 32): 1}
        assert sum(collection.skipped.values()) == 1


def test_a_preview_in_exif_is_no_image(tmp_path, scan):
    image = Image.fromarray(scan())
    block = Image.Exif()
    block[274] = 1
    block.get_ifd(34665)[37500] = b"\xff\xd8 a preview \xff\xd9"
    image.save(tmp_path / "a.jpg", exif=block)
    with Collection.open(tmp_path) as collection:
        assert collection.scan().images == 1


def test_equal_copies_in_other_folders_are_duplicates(tmp_path, scan):
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "a.png", scan())
    with Collection.open(tmp_path) as collection:
        assert collection.scan().surplus == 1
        assert collection.duplicates == ((0, 1),)
