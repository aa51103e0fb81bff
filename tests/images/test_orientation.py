"""A picture stands as the camera's header says, in all eight ways."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from veilray.images import RULE, Collection, Geometry
from veilray.images.orientation import in_exif, turn

# A picture that differs from all its turns, in blocks that JPEG keeps apart.
UPRIGHT = np.kron(np.array([[0, 80, 160], [240, 40, 120]], np.uint8), np.ones((16, 16), np.uint8))


def exif(value: int) -> Image.Exif:
    block = Image.Exif()
    block[274] = value
    return block


def stored(value: int, picture: np.ndarray = UPRIGHT) -> np.ndarray:
    """What a camera held that way writes: the turn that `value` asks for, undone."""
    back = {6: 8, 8: 6}.get(value, value)
    return turn(picture[:, :, np.newaxis], back)[:, :, 0]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write(path, value, kind):
    image = Image.fromarray(stored(value))
    if kind == "late.png":
        content = io.BytesIO()
        image.save(content, "PNG")
        block = chunk(b"eXIf", exif(value).tobytes().removeprefix(b"Exif\0\0"))
        path.write_bytes(content.getvalue()[:-12] + block + content.getvalue()[-12:])
    elif kind == "mpo":
        image.save(path, "MPO", save_all=True, append_images=[image.resize((9, 9))], exif=exif(value), quality=100)
    elif kind == "wide.tif":
        tag = (274, "H", 1, value, True)
        tifffile.imwrite(path, stored(value).astype(np.uint16) * 257, extratags=[tag], photometric="minisblack")
    elif kind == "colour.tif":
        wide = np.repeat(stored(value)[:, :, np.newaxis].astype(np.uint16) * 257, 3, axis=2)
        tifffile.imwrite(path, wide, extratags=[(274, "H", 1, value, True)], photometric="rgb", compression="zlib")
    else:
        image.save(path, exif=exif(value), **({"quality": 100} if kind == "jpg" else {}))


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "late.png", "tif", "wide.tif", "colour.tif", "mpo"])
def test_every_orientation_is_applied(tmp_path, value, kind):
    write(tmp_path / f"a.{'jpg' if kind == 'mpo' else kind}", value, kind)
    with Collection.open(tmp_path) as collection:
        assert collection.scan().images == 1
        ref = collection.refs[0]
        assert (ref.height, ref.width) == UPRIGHT.shape
        seen = collection.read_original(ref)
        scale = 257 if ref.bits == 16 else 1
        assert np.abs(seen[0].astype(int) - UPRIGHT.astype(int) * scale).max() <= 6 * scale
        assert collection.read(ref, Geometry(48)).shape == (1, 48, 48)


def test_each_page_has_its_own(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for value in (6, 1, 3):
            writer.write(stored(value), photometric="minisblack", extratags=[(274, "H", 1, value, True)])
    with Collection.open(tmp_path) as collection:
        for index in (2, 0, 1, 0):
            assert np.array_equal(collection.read_original(collection.refs[index])[0], UPRIGHT)


@pytest.mark.parametrize("value", range(1, 9))
def test_turns_are_those_of_another_reader(value):
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(picture)
    image.info["exif"] = exif(value).tobytes()
    assert np.array_equal(turn(picture[:, :, np.newaxis], value)[:, :, 0], np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("value", [0, 9, 255])
def test_what_is_no_orientation_is_the_stored_one(tmp_path, value):
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=exif(value))
    with Collection.open(tmp_path) as collection:
        assert np.array_equal(collection.read_original(collection.refs[0])[0], UPRIGHT)


@pytest.mark.parametrize("extension", ["png", "tif", "jpg"])
def test_xmp_alone_turns_nothing_and_spoils_nothing(tmp_path, extension):
    words = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    if extension == "tif":
        tifffile.imwrite(tmp_path / "a.tif", UPRIGHT, extratags=[(700, "B", len(words), words, True)])
    else:
        Image.fromarray(UPRIGHT).save(tmp_path / f"a.{extension}", xmp=words)
    with Collection.open(tmp_path) as collection:
        assert collection.scan().sizes == {UPRIGHT.shape: 1}
        assert collection.read_original(collection.refs[0]).shape == (1, *UPRIGHT.shape)


@given(
    st.binary(max_size=60), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0"])
)
def test_a_hostile_block_is_one_of_the_eight(tail, head):
    assert 1 <= in_exif(head + tail) <= 8


def test_the_rule_says_so():
    assert "EXIF or TIFF orientation" in RULE
