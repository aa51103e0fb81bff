"""Arrays: streamed, never unpickled, refused from the header."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from veilray.images import FORMATS, Collection, EmptyCollectionError, Geometry, Limits, Reading, Unreadable


def load(path, limits=None):
    with FORMATS["arrays"].open(path, limits or Limits()) as file:
        return [file.frame(index) for index in range(len(file))], np.stack(list(file))


def reason(path, limits=None):
    with pytest.raises(Unreadable) as caught:
        load(path, limits)
    return str(caught.value)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("shape", "channels"),
    [((4, 5, 7), 1), ((4, 5, 7, 1), 1), ((4, 5, 7, 3), 3), ((4, 1, 5, 7), 1), ((4, 3, 5, 7), 3)],
)
@pytest.mark.parametrize("kind", ["stored.npz", "compressed.npz", "plain.npy"])
def test_every_layout_is_read_in_order_and_by_index(tmp_path, picture, shape, channels, bits, kind):
    images = picture(shape, bits)
    path = tmp_path / kind
    {"stored.npz": np.savez, "compressed.npz": np.savez_compressed}.get(kind, np.savez)(path, images=images)
    if kind == "plain.npy":
        np.save(path, images)
    expected = images[..., np.newaxis] if images.ndim == 3 else images
    if images.ndim == 4 and shape[3] == 7:
        expected = np.moveaxis(images, 1, 3)
    with FORMATS["arrays"].open(path, Limits()) as file:
        assert file.frame(0).bits == bits
        assert file.frame(0).channels == channels
        assert np.array_equal(np.stack(list(file)), expected)
        for index in (3, 0, 2, 2):
            assert np.array_equal(file.read(index), expected[index])


@given(
    arrays.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(*[st.integers(1, 5)] * 3), fill=st.nothing()),
)
@settings(max_examples=30, deadline=None)
def test_any_grey_array_round_trips(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("arrays") / "a.npz"
    np.savez_compressed(path, images=images, label=np.arange(len(images)))
    assert np.array_equal(load(path)[1][..., 0], images)


def test_big_endian_pixels_are_read_by_value(tmp_path, picture):
    images = picture((2, 3, 4), 16)
    np.savez(tmp_path / "a.npz", images=images.astype(">u2"))
    assert np.array_equal(load(tmp_path / "a.npz")[1][..., 0], images)


def test_columns_become_facts_and_conditions(tmp_path, picture):
    np.savez(
        tmp_path / "a.npz",
        images=picture((3, 4, 4)),
        label=np.array([1, 0, 1], np.uint8),
        patient=np.array(["a", "", "b"]),
        split=np.array([b"train", b"test", b"test"]),
        sex=np.array(["F", "M", ""]),
        age=np.array([1.5, np.nan, 3.0]),
        view=np.array([[0], [1], [0]]),
        embedding=np.zeros((3, 2)),
        other=np.arange(7),
    )
    first, second, third = load(tmp_path / "a.npz")[0]
    assert (first.label, first.patient, first.split) == ("1", "a", "train")
    assert first.conditions == {"sex": "F", "age": "1.5", "view": "0"}
    assert second.patient is None
    assert second.conditions == {"sex": "M", "view": "1"}
    assert third.conditions == {"age": "3", "view": "0"}


def test_person_is_the_patient_unless_there_is_one(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((2, 4, 4)), person=np.array([7, 8]))
    assert load(tmp_path / "a.npz")[0][1].patient == "8"
    np.savez(tmp_path / "b.npz", images=picture((2, 4, 4)), person=np.array([7, 8]), patient=np.array([1, 2]))
    frame = load(tmp_path / "b.npz")[0][1]
    assert (frame.patient, frame.conditions) == ("2", {"person": "8"})


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 4, 4), np.float32),
        np.full((2, 4, 4), np.nan),
        np.zeros((2, 4, 4), np.int16),
        np.zeros((2, 4, 4), np.int64),
        np.zeros((2, 4, 4), np.uint32),
    ],
    ids=lambda images: str(images.dtype),
)
def test_other_types_are_refused(tmp_path, images):
    np.savez(tmp_path / "a.npz", images=images)
    assert f"images must be uint8 or uint16, got {images.dtype}: state which stored" in reason(tmp_path / "a.npz")
    assert "--range LOW:HIGH" in reason(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", [(4,), (4, 4), (2, 4, 4, 2), (0, 4, 4), (2, 0, 4), (1, 2, 4, 4, 3)])
def test_other_shapes_are_refused(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert "images must" in reason(tmp_path / "a.npy")


def test_fortran_order_is_refused_with_the_cure(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(picture((3, 4, 5))))
    assert "ascontiguousarray" in reason(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["images", "label"])
def test_pickled_objects_are_never_loaded(tmp_path, picture, name):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    content = {"images": picture((2, 4, 4)), name: np.array([Trap(), Trap()], dtype=object)}
    np.savez(tmp_path / "a.npz", **content)
    assert f"{name} must" in reason(tmp_path / "a.npz")
    assert "never loaded" in reason(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "other",
    [
        np.array(["a", None], dtype=object),
        np.array([np.zeros(2), None], dtype=object),
        np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"),
        np.array([1j, 2j]),
    ],
    ids=["texts", "arrays", "dates", "complex"],
)
def test_other_columns_that_are_no_text_are_left_alone(tmp_path, picture, other):
    np.savez(tmp_path / "a.npz", images=picture((2, 4, 4)), label=["x", "y"], notes=other)
    assert [(frame.label, dict(frame.conditions)) for frame in load(tmp_path / "a.npz")[0]] == [("x", {}), ("y", {})]


def test_truth_values_are_black_and_white(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.array([[[True, False]]]))
    frames, pixels = load(tmp_path / "a.npz")
    assert frames[0].bits == 8
    assert pixels[0, ..., 0].tolist() == [[255, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.int16, ">i8", np.uint32])
def test_other_types_are_taken_with_a_stated_range(tmp_path, dtype):
    images = np.arange(24).reshape(2, 3, 4).astype(dtype)
    np.savez(tmp_path / "a.npz", images=images)
    with Collection.open(tmp_path / "a.npz", reading=Reading(range=(0, 23))) as collection:
        assert collection.scan().bits == {16: 2}
        seen = collection.read(collection.refs[1], Geometry(4, bits=16))
    assert seen.max() == 65535
    assert seen[0, 0].tolist() == [round(value * 65535 / 23) for value in range(12, 16)]


def test_the_parts_of_medmnist_are_taken_by_split(tmp_path, picture):
    parts = {}
    for seed, part in enumerate(["train", "val", "test"], start=1):
        parts[f"{part}_images"] = picture((seed + 1, 4, 4), seed=seed)
        parts[f"{part}_labels"] = np.arange(seed + 1, dtype=np.uint8)[:, np.newaxis]
    np.savez(tmp_path / "a.npz", **parts)
    with Collection.open(tmp_path / "a.npz", reading=Reading(split="val")) as collection:
        assert [(ref.label, ref.split) for ref in collection.refs] == [("0", "val"), ("1", "val"), ("2", "val")]
        assert np.array_equal(collection.read_original(collection.refs[2])[0], parts["val_images"][2])
    for reading in (None, Reading(split="training")):
        with pytest.raises(EmptyCollectionError, match=r"got train_images, train_labels, .*--split val"):
            Collection.open(tmp_path / "a.npz", reading=reading)


def test_names_that_people_give_are_roles(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((2, 4, 4)), labels=["N", "P"], patient_id=[7.0, np.nan])
    first, second = load(tmp_path / "a.npz")[0]
    assert (first.label, first.patient, second.patient) == ("N", "7", None)
    assert first.conditions == {}


def test_the_user_says_which_array_has_a_role(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((2, 4, 4)), child=[3, 4], finding=["N", "P"])
    with Collection.open(
        tmp_path / "a.npz", reading=Reading(columns={"patient": "child", "label": "finding"})
    ) as collection:
        assert collection.patients() == {"3": 1, "4": 1}
        assert collection.labels == ("N", "P")
    with pytest.raises(EmptyCollectionError, match="child"):
        Collection.open(tmp_path / "a.npz", reading=Reading(columns={"patient": "kid"}))


def test_two_names_of_a_patient_are_not_chosen_between(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((2, 4, 4)), subject=[1, 2], patient_id=[3, 4])
    assert "--columns patient=" in reason(tmp_path / "a.npz")


def test_one_hot_labels_are_refused_with_the_cure(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((3, 4, 4)), label=np.eye(3))
    assert "numpy.argmax(label, axis=1)" in reason(tmp_path / "a.npz")


@pytest.mark.parametrize("beside", [{}, {"label": np.arange(5)}], ids=["alone", "with labels"])
def test_squares_saved_in_the_order_of_matlab_are_refused_with_the_cure(tmp_path, picture, beside):
    np.savez(tmp_path / "a.npz", images=picture((4, 4, 5)), **beside)
    assert "numpy.moveaxis(images, " in reason(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=picture((4, 4, 5)), label=np.arange(4))
    assert len(load(tmp_path / "a.npz")[0]) == 4


def test_one_picture_without_a_first_axis_is_refused_with_the_cure(tmp_path, picture):
    np.save(tmp_path / "a.npy", picture((4, 5)))
    assert "images[numpy.newaxis]" in reason(tmp_path / "a.npy")


def test_a_label_of_another_length_is_refused(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((3, 4, 4)), label=np.arange(2))
    assert "label must have one value per image" in reason(tmp_path / "a.npz")


def test_images_must_be_there(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    assert "named images" in reason(tmp_path / "a.npz")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_truncated_files_are_refused(tmp_path, picture, share, name):
    path = tmp_path / name
    (np.save if name == "a.npy" else np.savez_compressed)(
        path, **({"arr": picture((9, 8, 8))} if name == "a.npy" else {"images": picture((9, 8, 8))})
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    reason(path)


@pytest.mark.parametrize("by_index", [False, True])
def test_damaged_compressed_rows_are_refused(tmp_path, picture, by_index):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=picture((50, 16, 16)))
    content = bytearray(path.read_bytes())
    content[6_000:6_100] = bytes(100)
    path.write_bytes(content)
    with FORMATS["arrays"].open(path, Limits()) as file, pytest.raises(Unreadable, match="truncated or damaged"):
        file.read(0) if by_index else list(file)


def archive(path, images_header, body, **options):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, images_header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file, file.open("images.npy", "w") as member:
        member.write(stream.getvalue())
        for block in body:
            member.write(block)


def test_a_header_that_claims_more_than_the_member_holds_is_refused(tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (1_000_000, 4_000, 4_000)}
    archive(tmp_path / "a.npz", header, [b"\0" * 100])
    assert "at most" in reason(tmp_path / "a.npz")
    header["shape"] = (1_000, 400, 400)
    archive(tmp_path / "b.npz", header, [b"\0" * 100])
    assert "as many bytes as their header states" in reason(tmp_path / "b.npz")


def test_a_member_that_holds_more_than_its_header_claims_is_refused(tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (2, 4, 4)}
    archive(tmp_path / "a.npz", header, [bytes(2**20)] * 64, compresslevel=1)
    assert "as many bytes as their header states" in reason(tmp_path / "a.npz")


def test_limits_are_kept(tmp_path, picture):
    np.savez(tmp_path / "a.npz", images=picture((5, 8, 8)))
    for limits in (Limits(max_images=4), Limits(max_pixels=63), Limits(max_array_bytes=319)):
        assert "at most" in reason(tmp_path / "a.npz", limits)
    assert len(load(tmp_path / "a.npz", Limits(max_images=5, max_pixels=64, max_array_bytes=320))[1]) == 5


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as file:
        file.writestr("images.npy", b"x" * 100)
    assert "stored or deflated" in reason(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\0\xff\xff{", b"\x93NUMPY\x09\0"])
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_what_is_no_array_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    reason(tmp_path / name)


@pytest.mark.parametrize("text", ["(" * 4_000, "{'descr': '|u1', 'fortran_order': ", "{'shape': (-1, 4, 4)}", "[1, 2"])
def test_a_hostile_header_is_refused(tmp_path, text):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode())
    reason(tmp_path / "a.npy")


def test_the_temporary_file_has_no_name_and_closes(tmp_path, picture, monkeypatch):
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    np.savez_compressed(tmp_path / "a.npz", images=picture((5, 8, 8)))
    with FORMATS["arrays"].open(tmp_path / "a.npz", Limits()) as file:
        file.read(3)
        assert list(spool.iterdir()) == []
        descriptor = file._spool.fileno()
        assert os.fstat(descriptor).st_mode & 0o077 == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_full_disk_is_said_with_its_cure(tmp_path, picture, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", images=picture((5, 8, 8)))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with FORMATS["arrays"].open(tmp_path / "a.npz", Limits()) as file, pytest.raises(OSError, match="set TMPDIR"):
        file.read(0)
