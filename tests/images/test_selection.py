"""Public rules of selection: by split, and the first images of each patient."""

from __future__ import annotations

import pytest

from veilray.images import Collection, EmptyCollectionError, Reading, split_by_patient, write_image

ROWS = "path,patient,split\nc.png,7,train\na.png,7.0,train\nb.png,,train\nd.png,7,test\ne.png,8,train\nf.png,,train\n"


@pytest.fixture
def study(tmp_path, picture):
    for seed, name in enumerate("abcdef"):
        write_image(tmp_path / f"{name}.png", picture((4, 4), seed=seed))
    (tmp_path / "m.csv").write_text(ROWS)
    return tmp_path / "m.csv"


def names(collection):
    return [ref.source.removesuffix(".png") for ref in collection.refs]


def opened(path, **said):
    return Collection.open(path, reading=Reading(**said))


def test_the_first_of_each_patient_by_the_order_of_the_manifest(study):
    with opened(study, images_per_patient=1) as collection:
        assert names(collection) == ["c", "b", "e", "f"]
    with opened(study, images_per_patient=2) as collection:
        assert names(collection) == ["c", "a", "b", "e", "f"]


def test_the_split_is_taken_before_the_first_are_counted(study):
    with opened(study, split="test", images_per_patient=1) as collection:
        assert names(collection) == ["d"]


def test_an_unknown_split_is_named_with_those_that_there_are(study):
    with pytest.raises(ValueError, match="split must be one of test, train, got 'val'"):
        opened(study, split="val")
    with pytest.raises(ValueError, match="split must be left out where IMAGES names none"):
        opened(study.parent / "a.png", split="val")


@pytest.mark.parametrize("most", [0, -1, 1.5, True])
def test_images_per_patient_is_one_or_more(most):
    with pytest.raises(ValueError, match="images per patient must be a whole number of 1 or more"):
        Reading(images_per_patient=most)


def test_a_folder_of_splits(tmp_path, picture):
    for part in ("train", "val"):
        (tmp_path / part / "NORMAL").mkdir(parents=True)
        write_image(tmp_path / part / "NORMAL" / "a.png", picture((4, 4)))
        (tmp_path / part / "NORMAL" / "notes.txt").write_text("x")
    with opened(tmp_path, split="val") as collection:
        assert [(ref.source, ref.label) for ref in collection.refs] == [("val/NORMAL/a.png", "NORMAL")]
        assert [entry.source for entry in collection.quarantine] == ["val/NORMAL/notes.txt"]


def test_files_of_another_part_are_not_opened(study):
    (study.parent / "d.png").write_bytes(b"no picture")
    with opened(study, split="train") as collection:
        assert collection.quarantine == []


def test_nothing_readable_of_any_part_is_an_error_with_reasons(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").write_bytes(b"no picture")
    with pytest.raises(EmptyCollectionError, match=r"train/a\.png: cannot be decoded"):
        opened(tmp_path, split="train")


def test_reading_and_its_words_are_not_both_given(study):
    with pytest.raises(ValueError, match="within reading"):
        Collection.open(study, layout="kermany", reading=Reading())


@pytest.mark.parametrize("key", ["Mu\u0308ller", " M\u00fcller\u00a0", "M\u00fcller"])
def test_one_person_has_one_key_and_one_side(tmp_path, picture, key):
    write_image(tmp_path / "a.png", picture((4, 4)))
    write_image(tmp_path / "b.png", picture((4, 4), seed=1))
    (tmp_path / "m.csv").write_text(f"path,patient\na.png,{key}\nb.png,M\u00fcller\n", encoding="utf-8")
    with Collection.open(tmp_path / "m.csv") as collection:
        assert collection.patients() == {"M\u00fcller": 2}
        parts = split_by_patient(collection, {"one": 0.5, "two": 0.5})
        assert sorted(len(part) for part in parts.values()) == [0, 2]


def test_folders_may_hold_letters_of_any_language_in_one_form(tmp_path, picture):
    for seed, folder in enumerate(["Mu\u0308ller", "\u6b63\u5e38", "\u0646\u0631\u0645\u0627\u0644"]):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "a.png", picture((4, 4), seed=seed))
    with Collection.open(tmp_path) as collection:
        assert set(collection.labels) == {"M\u00fcller", "\u6b63\u5e38", "\u0646\u0631\u0645\u0627\u0644"}
        assert collection.scan().images == 3  # and each file is found under the name that the disk has


def test_names_of_files_never_reach_a_terminal_as_commands(tmp_path):
    (tmp_path / "a\x1b[2J\n.png").write_bytes(b"no picture")
    (tmp_path / "b.\x1bpng").write_bytes(b"x")
    with pytest.raises(EmptyCollectionError) as caught:
        Collection.open(tmp_path)
    assert str(caught.value).isprintable()
    assert "a\\x1b[2J\\n.png: cannot be decoded" in str(caught.value)
    assert all((entry.source + entry.reason).isprintable() for entry in caught.value.quarantine)
