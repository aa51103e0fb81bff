"""PNG, JPEG and TIFF: what is taken, what is refused, and that pixels come through."""

from __future__ import annotations

import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageFile

from veilray.images import FORMATS, Collection, EmptyCollectionError, Limits, Unreadable


def load(path, limits=None):
    with FORMATS["raster"].open(path, limits or Limits()) as file:
        return [file.frame(index) for index in range(len(file))], list(file)


def reason(path, limits=None):
    with pytest.raises(Unreadable) as caught:
        load(path, limits)
    assert str(path) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_grey_of_eight_bits(tmp_path, picture, extension):
    image = picture((5, 7))
    Image.fromarray(image).save(tmp_path / f"a.{extension}")
    frames, pixels = load(tmp_path / f"a.{extension}")
    assert (frames[0].height, frames[0].width, frames[0].channels, frames[0].bits) == (5, 7, 1, 8)
    assert np.array_equal(pixels[0][:, :, 0], image)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_rgb_of_eight_bits(tmp_path, picture, extension):
    image = picture((5, 7, 3))
    Image.fromarray(image).save(tmp_path / f"a.{extension}")
    assert np.array_equal(load(tmp_path / f"a.{extension}")[1][0], image)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_grey_of_sixteen_bits(tmp_path, picture, extension):
    image = picture((5, 7), 16)
    Image.fromarray(image).save(tmp_path / f"a.{extension}")
    frames, pixels = load(tmp_path / f"a.{extension}")
    assert frames[0].bits == 16
    assert pixels[0].dtype == np.uint16
    assert np.array_equal(pixels[0][:, :, 0], image)


@pytest.mark.parametrize(
    "options",
    [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_sixteen_bits_in_every_storage(tmp_path, picture, options, channels):
    image = picture((20, 37, channels), 16)
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", image.squeeze(), photometric=photometric, **options)
    frames, pixels = load(tmp_path / "a.tif")
    assert (frames[0].channels, frames[0].bits) == (channels, 16)
    assert np.array_equal(pixels[0], image)


@pytest.mark.parametrize("bits", [8, 16])
def test_inverted_grey_is_turned_the_usual_way(tmp_path, picture, bits):
    stored = picture((4, 6), bits)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    assert np.array_equal(load(tmp_path / "a.tif")[1][0][:, :, 0], (2**bits - 1) - stored)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg(tmp_path, mode):
    Image.new(mode, (16, 8), 200 if mode == "L" else (10, 100, 200)).save(tmp_path / "a.jpg", quality=95)
    frames, pixels = load(tmp_path / "a.jpg")
    assert pixels[0].shape == (8, 16, frames[0].channels) == (8, 16, len(mode) // 3 * 2 + 1)
    assert np.ptp(pixels[0], axis=(0, 1)).max() == 0


def test_one_bit_becomes_full_range(tmp_path):
    Image.new("1", (4, 4), 1).save(tmp_path / "a.png")
    frames, pixels = load(tmp_path / "a.png")
    assert (frames[0].channels, frames[0].bits) == (1, 8)
    assert np.all(pixels[0] == 255)


def test_a_palette_becomes_rgb(tmp_path, picture):
    colour = Image.fromarray(picture((8, 8, 3))).quantize(16)
    colour.save(tmp_path / "a.png")
    frames, pixels = load(tmp_path / "a.png")
    assert frames[0].channels == 3
    assert np.array_equal(pixels[0], np.asarray(colour.convert("RGB")))


def test_pages_of_a_tiff_are_frames_of_one_subject(tmp_path, picture):
    pages = [picture((4 + page, 6), 16, seed=page) for page in range(5)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in pages:
            writer.write(page, photometric="minisblack")
    with FORMATS["raster"].open(tmp_path / "a.tif", Limits()) as file:
        assert file.one_subject
        assert len(file) == 5
        for index in (4, 0, 3, 3, 1, 2):
            assert np.array_equal(file.read(index)[:, :, 0], pages[index])


def test_pages_of_sixteen_bit_colour(tmp_path, picture):
    pages = [picture((4, 6, 3), 16, seed=page) for page in range(3)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in pages:
            writer.write(page, photometric="rgb")
    assert all(np.array_equal(read, page) for read, page in zip(load(tmp_path / "a.tif")[1], pages, strict=True))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_refused_even_when_opaque(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    assert "transparency must be absent" in reason(tmp_path / "a.png")


def test_a_transparent_colour_is_refused(tmp_path):
    Image.new("P", (4, 4)).save(tmp_path / "a.png", transparency=0)
    assert "transparency" in reason(tmp_path / "a.png")


@pytest.mark.parametrize("extension", ["jpg", "tif"])
def test_cmyk_is_refused(tmp_path, extension):
    Image.new("CMYK", (4, 4)).save(tmp_path / f"a.{extension}")
    assert reason(tmp_path / f"a.{extension}") == "colour must be grey, palette or RGB, got CMYK"


def test_floating_point_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), np.nan, np.float32))
    assert "floating point" in reason(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_signed_and_wide_values_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), dtype))
    assert "must be unsigned" in reason(tmp_path / "a.tif")


def test_sixteen_bit_colour_in_separate_planes_is_refused(tmp_path, picture):
    tifffile.imwrite(tmp_path / "a.tif", picture((3, 8, 8), 16), photometric="rgb", planarconfig="separate")
    assert "pixel by pixel" in reason(tmp_path / "a.tif")


def test_an_animation_is_refused(tmp_path, picture):
    first, second = (Image.fromarray(picture((8, 8), seed=seed)) for seed in range(2))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    assert "animation" in reason(tmp_path / "a.png")


@pytest.mark.parametrize("extension", ["png", "jpg", "tif"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, picture, extension, share):
    path = tmp_path / f"a.{extension}"
    Image.fromarray(picture((64, 64))).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated or damaged" in reason(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0\xff\xff\xff\xff", b"\xff\xd8\xff"])
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    reason(tmp_path / "a.png")


@pytest.mark.parametrize("side", [8_001, 10_000, 60_000])
def test_a_bomb_is_refused_from_its_header(tmp_path, claiming_png, side):
    (tmp_path / "a.png").write_bytes(claiming_png(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "rows x columns must be" in reason(tmp_path / "a.png")


def test_a_tiff_bomb_is_refused_from_its_header(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((4, 4), np.uint8), photometric="minisblack")
        writer.write(np.zeros((4, 4), np.uint8), photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[1].tags[name].overwrite(60_000, dtype="I")
    with FORMATS["raster"].open(tmp_path / "a.tif", Limits()) as file:
        assert len(file) == 1
        assert [(part, text[:22]) for part, text in file.refused] == [("page 2", "rows x columns must be")]


def test_more_pages_than_the_limit_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 8), np.uint8), photometric="minisblack")
    assert len(load(tmp_path / "a.tif", Limits(max_images=4))[0]) == 4
    assert "pages must be at most 3" in reason(tmp_path / "a.tif", Limits(max_images=3))


def test_pillow_set_to_accept_truncated_files_stops_everything(tmp_path, picture, monkeypatch):
    Image.fromarray(picture((4, 4))).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ValueError, match="LOAD_TRUNCATED_IMAGES must be False"):
        load(tmp_path / "a.png")


def test_pillows_settings_are_left_as_they_were(tmp_path, claiming_png):
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    (tmp_path / "a.png").write_bytes(claiming_png(60_000, 60_000))
    reason(tmp_path / "a.png")
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_a_fault_of_the_machine_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(OSError, match="Too many open files"):
        FORMATS["raster"].open(tmp_path / "a.png", Limits())


def test_a_page_that_is_not_taken_leaves_the_others(tmp_path, picture):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(picture((4, 5)), photometric="minisblack")
        writer.write(np.zeros((4, 5), np.float32), photometric="minisblack")
        writer.write(picture((6, 7), seed=1), photometric="minisblack")
    with FORMATS["raster"].open(tmp_path / "a.tif", Limits()) as file:
        assert [file.called(index) for index in range(len(file))] == ["page 1", "page 3"]
        assert file.refused == [("page 2", "values must be whole numbers of 8 or 16 bits, got floating point")]
        assert np.array_equal(file.read(1)[:, :, 0], picture((6, 7), seed=1))


def test_a_first_page_that_is_not_taken_leaves_the_others(tmp_path, picture):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((4, 5), np.float32), photometric="minisblack")
        writer.write(picture((6, 7), 16), photometric="minisblack")
    frames, pixels = load(tmp_path / "a.tif")
    assert [(frame.height, frame.bits) for frame in frames] == [(6, 16)]
    assert np.array_equal(pixels[0][:, :, 0], picture((6, 7), 16))


def test_a_lost_way_to_the_next_page_is_said(tmp_path, picture):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for seed in range(3):
            writer.write(picture((8, 8), seed=seed), photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        start = file.pages[1].offset
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[: start + 20])
    with FORMATS["raster"].open(tmp_path / "a.tif", Limits()) as file:
        assert len(file) == 1
        assert np.array_equal(file.read(0)[:, :, 0], picture((8, 8)))
        assert [part for part, _ in file.refused] in (["page 2"], ["page 2 and what follows"])


@pytest.mark.parametrize("extension", [".PNG", ".JPG", ".Tiff"])
def test_extensions_in_capitals_are_known(tmp_path, picture, extension):
    Image.fromarray(picture((4, 5))).save(tmp_path / f"a{extension}")
    with Collection.open(tmp_path) as collection:
        assert collection.scan().images == 1


def test_adam7_gives_the_same_pixels(tmp_path, picture):
    pixels = picture((19, 23, 3), 16)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = (row for y, x, down, right in passes for row in pixels[y::down, x::right] if row.size)
    body = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in lines))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 23, 19, 16, 2, 0, 0, 1)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    assert np.array_equal(load(tmp_path / "a.png")[1][0], pixels)


def test_a_colour_profile_changes_nothing(tmp_path, picture):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture((4, 5, 3))).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(load(tmp_path / "a.png")[1][0], picture((4, 5, 3)))


@pytest.mark.parametrize("name", ["a.bmp", "a.dcm", "a.gif", "a"])
def test_other_formats_are_refused_by_their_extension(tmp_path, name):
    (tmp_path / name).write_bytes(b"BM")
    with pytest.raises(EmptyCollectionError, match="extension must be one of"):
        Collection.open(tmp_path)
