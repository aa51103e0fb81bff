"""Released PNGs: pixels and nothing else."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from veilray.images import FORMATS, Limits, encode_png, write_image


def chunks(content):
    at, names = 8, []
    while at < len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        names.append(content[at + 4 : at + 8])
        at += 12 + length
    return names


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (3, 5, 7), (1, 1), (3, 1, 1)])
@pytest.mark.parametrize("bits", [8, 16])
def test_written_pixels_are_read_back(tmp_path, picture, shape, bits):
    image = picture(shape, bits)
    write_image(tmp_path / "a.png", image)
    with FORMATS["raster"].open(tmp_path / "a.png", Limits()) as file:
        frame = file.frame(0)
        read = np.moveaxis(file.read(0), 2, 0)
    planes = image[np.newaxis] if image.ndim == 2 else image
    assert (frame.channels, frame.height, frame.width) == planes.shape
    assert frame.bits == bits
    assert np.array_equal(read, planes)


@given(arrays.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=40, deadline=None)
def test_another_reader_sees_the_same_grey(image):
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), image)


def test_only_the_chunks_that_a_png_must_have(picture):
    assert chunks(encode_png(picture((3, 4, 4), 16))) == [b"IHDR", b"IDAT", b"IEND"]


def test_equal_pixels_give_equal_bytes(picture):
    image = picture((6, 8))
    fortran = np.asfortranarray(image)
    assert encode_png(image) == encode_png(fortran) == encode_png(image[np.newaxis])


def test_the_bytes_written_are_returned(tmp_path, picture):
    assert write_image(tmp_path / "a.png", picture((4, 4))) == (tmp_path / "a.png").read_bytes()


def test_nothing_is_overwritten(tmp_path, picture):
    write_image(tmp_path / "a.png", picture((4, 4)))
    with pytest.raises(FileExistsError):
        write_image(tmp_path / "a.png", picture((4, 4)))


def test_the_disk_holds_the_file_before_it_returns(tmp_path, picture, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    write_image(tmp_path / "a.png", picture((4, 4)))
    assert len(synced) == 1


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((2, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)])
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="image must be"):
        encode_png(image)


def test_another_extension_is_refused(tmp_path, picture):
    with pytest.raises(ValueError, match=r"extension must be \.png, got '\.jpg'"):
        write_image(tmp_path / "a.jpg", picture((4, 4)))
