"""Manifests: what is read, what is refused, and that no row leaves its root."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest

from veilray.images import Collection, EmptyCollectionError, Facts, Reading, manifest_root, write_image, write_manifest
from veilray.images.manifest import read_manifest
from veilray.text import Dialect


@pytest.fixture
def study(tmp_path, picture):
    (tmp_path / "in" / "a").mkdir(parents=True)
    for index in range(4):
        write_image(tmp_path / "in" / "a" / f"{index}.png", picture((4, 4), seed=index))
    write_image(tmp_path / "outside.png", picture((4, 4)))
    return tmp_path / "in"


def write(folder, text, encoding="utf-8"):
    (folder / "m.csv").write_text(text, encoding=encoding)
    return folder / "m.csv"


def test_columns_become_facts_and_conditions(study):
    path = write(study, "path,patient,label,sex,group,split\na/0.png,p1,well,F,g1,train\na/1.png,,ill,,,\n")
    first, second = Collection.open(path).refs
    assert (first.source, first.patient, first.group, first.label, first.split) == (
        "a/0.png",
        "p1",
        "g1",
        "well",
        "train",
    )
    assert first.conditions == {"sex": "F"}
    assert (second.patient, second.group, second.conditions) == (None, "image:a/1.png#0", {})


def test_a_byte_order_mark_and_windows_lines_are_fine(study):
    path = write(study, "\ufeffpath,label\r\na/0.png,ü\r\n\r\na/1.png,b\r\n")
    assert [ref.label for ref in Collection.open(path).refs] == ["ü", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty file"),
        ("\n\n", "got an empty file or blank lines"),
        ("path,label\n", "one row or more"),
        (
            "where,label\na/0.png,x\n",
            "must have a column for path, got 'where', 'label': say which it is with --columns path=",
        ),
        ("path,label,label\na/0.png,x,y\n", "distinct names, got 'label' twice"),
        ('path,label\n"a/0.png,x\n', "must close every quote"),
    ],
)
def test_tables_that_cannot_be_read_are_errors(study, text, message):
    with pytest.raises(ValueError, match=message):
        Collection.open(write(study, text))


def test_another_encoding_is_an_error_with_its_cure(study):
    with pytest.raises(ValueError, match="UTF-8"):
        Collection.open(write(study, "path,label\na/0.png,müde\n", encoding="latin-1"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a/9.png", "absent"),
        ("a/0.png,extra", "row must have 1 cells, got 2"),
        ("../outside.png", "must lie inside the root"),
        ("a/../../outside.png", "must lie inside the root"),
        ("/etc/hostname.png", "must lie inside the root"),
        ('""', "must be a file name"),
        (".", "must lie inside the root"),
        ("a", "extension must be one of"),
        ("a/1.png/x.png", "absent"),
        ("link.png", "symbolic link"),
        ("folder/0.png", "symbolic link"),
        ("a/./1.png", "listed twice"),
        ("x" * 300 + ".png", "name is too long"),
        ("x" * 5_000 + ".png", "at most"),
    ],
)
def test_rows_that_cannot_be_used_are_put_in_quarantine(study, row, reason):
    (study / "link.png").symlink_to(study.parent / "outside.png")
    (study / "folder").symlink_to(study / "a")
    collection = Collection.open(write(study, f"path\na/1.png\n{row}\n"))
    assert len(collection) == 1
    assert len(collection.quarantine) == 1
    assert reason in collection.quarantine[0].reason


def test_an_absolute_path_inside_the_root_is_taken(study):
    collection = Collection.open(write(study, f"path\n{study}/a/1.png\n"))
    assert collection.refs[0].source == "a/1.png"


def test_a_root_from_the_user_is_where_paths_start(study):
    path = write(study, "path\nin/a/0.png\noutside.png\n")
    assert len(Collection.open(path, root=study.parent)) == 2
    assert len(Collection.open(path, root=study / ".." / "in" / "..")) == 2


def test_a_root_in_the_manifest_is_not_followed_by_itself(study):
    path = study.parent / "m.csv"
    write_manifest(path, [("a/0.png", Facts(label="x"))], root=study)
    assert manifest_root(path) == study.resolve()
    with pytest.raises(ValueError, match="if you trust it, pass that folder as root"):
        Collection.open(path)
    assert len(Collection.open(path, root=manifest_root(path))) == 1


def test_a_root_is_for_manifests_only(study):
    with pytest.raises(ValueError, match="dialect must be given with a manifest or a table only"):
        Collection.open(study, reading=Reading(dialect=Dialect(decimal=",")))
    with pytest.raises(ValueError, match="columns must be given with a manifest or an array file only"):
        Collection.open(study, reading=Reading(columns={"patient": "a"}))
    with pytest.raises(ValueError, match="root must be given with a manifest only"):
        Collection.open(study, root=study)
    with pytest.raises(ValueError, match="root must be an existing folder"):
        Collection.open(write(study, "path\na/0.png\n"), root=study / "none")


def test_what_is_written_is_read_back(tmp_path):
    rows = [
        ('a,"b".png', Facts("p", "g", "x", "train", {"sex": "F", "view": "a\nb"})),
        ("ü.png", Facts(None, None, None, None, {"sex": "M", "view": "pa"})),
    ]
    assert write_manifest(tmp_path / "m.csv", rows) == 2
    assert [(row.path, row.facts) for row in read_manifest(tmp_path / "m.csv")] == rows
    with pytest.raises(ValueError, match="conditions of the first row"):
        write_manifest(tmp_path / "n.csv", [rows[0], ("c.png", Facts())])


def facts(path, **how):
    with Collection.open(path, reading=Reading(**how)) as collection:
        assert collection.quarantine == []
        return [(ref.source, ref.patient, ref.label, dict(ref.conditions)) for ref in collection.refs]


@pytest.mark.parametrize(
    "text",
    [
        "path;patient;label\r\na/0.png;p1;x\r\n",
        "sep=;\r\npath;patient;label\r\na/0.png;p1;x\r\n",
        "path\tpatient\tlabel\na/0.png\tp1\tx\n",
        ",path,patient,label\n0,a/0.png,p1,x\n",
        "Unnamed: 0,path,patient,label\n0,a/0.png,p1,x\n",
        "path,patient,label,\na/0.png,p1,x,\n",
        "path,patient,label\na/0.png,p1,x,\n",
        "path,Patient,Label\na/0.png,p1,x\n",
        "filename,patient_id,class\na/0.png,p1,x\n",
        "Image Index,Patient ID,Finding Labels\na/0.png,p1,x\n",
        "path,patient,label\na\\0.png,p1,x\n",
        "path,patient,label\n\n a/0.png , p1 ,x\u00a0\n\n,,\n,,\n",
    ],
)
def test_ways_to_write_one_manifest_are_one_manifest(study, text):
    assert facts(write(study, text)) == [("a/0.png", "p1", "x", {})]


@pytest.mark.parametrize("word", ["", "NA", "nan", "NULL", "#N/A", ".", "<NA>", "NaT"])
def test_missing_is_missing_everywhere(study, word):
    path = write(study, f"path,patient,label,sex\na/0.png,{word},{word},{word}\n")
    assert facts(path) == [("a/0.png", None, None, {})]


def test_a_word_that_is_declared_not_missing_is_a_label(study):
    path = write(study, "path,label\na/0.png,NA\n")
    assert facts(path, dialect=Dialect(missing=())) == [("a/0.png", None, "NA", {})]


def test_keys_labels_and_names_have_one_normal_form(study):
    one, other = "M\u00fcller", "Mu\u0308ller"
    path = write(
        study, f"path,patient,label,gr\u00f6\u00dfe\na/0.png,{one},{one},{one}\na/1.png,{other},{other},{other}\n"
    )
    first, second = facts(path)
    assert first[1:] == second[1:] == (one, one, {"gr\u00f6\u00dfe": one})


@pytest.mark.parametrize("key", ["7", "7.0", " 7 "])
def test_a_whole_number_is_one_patient(study, key):
    assert facts(write(study, f"path,patient,label\na/0.png,{key},1.0\n")) == [("a/0.png", "7", "1", {})]


@pytest.mark.parametrize(("on_disk", "written"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC"), ("NFD", "NFD")])
def test_a_path_finds_its_file_in_either_normal_form(study, on_disk, written):
    name = unicodedata.normalize(on_disk, "a/Gr\u00f6\u00dfe.png")
    (study / "a" / "0.png").rename(study / name)
    path = write(study, f"path\n{unicodedata.normalize(written, name)}\n")
    assert [row[0] for row in facts(path)] == [name]


def test_the_user_says_which_column_is_which(study):
    path = write(study, "where,case,label,finding\na/0.png,p1,old,x\n")
    columns = {"path": "where", "patient": "case", "label": "finding"}
    assert facts(path, columns=columns) == [("a/0.png", "p1", "x", {})]
    with pytest.raises(ValueError, match="column for patient must be one of those of the manifest: 'where', 'case'"):
        Collection.open(path, reading=Reading(columns={"patient": "kase"}))


@pytest.mark.parametrize(("encoding", "declared"), [("utf-16", "auto"), ("cp1252", "cp1252"), ("latin-1", "latin-1")])
def test_a_declared_encoding_is_read(study, encoding, declared):
    path = write(study, "path,label\na/0.png,m\u00fcde\n", encoding=encoding)
    assert facts(path, dialect=Dialect(encoding=declared))[0][2] == "m\u00fcde"


@pytest.mark.parametrize(
    "label", ["Effusion|Infiltration", "\u0394\u03ad\u03bb\u03c4\u03b1", "\u80ba\u708e", "a/b: c?"]
)
def test_a_label_is_any_text(study, label):
    assert facts(write(study, f"path,label\na/0.png,{label}\n"))[0][2] == label


@pytest.mark.parametrize("line", ["# root: {},,", "\ufeff# root: {}", '"# root: {}",,', "# root: {};;"])
def test_the_root_line_is_known_as_a_spreadsheet_saves_it_again(study, line):
    path = write(study, line.format(study) + "\npath,label,patient\na/0.png,x,p\n")
    assert manifest_root(path) == study
    assert facts(path, root=study) == [("a/0.png", "p", "x", {})]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("/data/study/a/0.png", "name the folder of the files with --root"),
        ("C:\\study\\a\\0.png", "name the folder of the files with --root"),
        ("\\\\server\\study\\0.png", "name the folder of the files with --root"),
        ("..\\outside.png", "path must lie inside the root folder"),
        ("a/0", "extension must be one of an image file, got none and no such file"),
        ("b/0.png", "file is absent: paths start at the manifest's folder, or at --root"),
    ],
)
def test_a_path_that_leads_nowhere_names_the_cure(study, row, reason):
    with Collection.open(write(study, f"path,label\na/1.png,x\n{row},x\n")) as collection:
        assert reason in collection.quarantine[0].reason
        assert len(collection) == 1


def test_a_backslash_that_is_part_of_a_name_is_kept(study):
    (study / "a" / "0.png").rename(study / "b\\0.png")
    assert [row[0] for row in facts(write(study, "path\nb\\0.png\n"))] == ["b\\0.png"]


def test_a_blank_line_in_one_column_is_a_row_without_a_path(study):
    with Collection.open(write(study, "path\na/0.png\n\na/1.png\n\n\n")) as collection:
        assert [entry.source for entry in collection.quarantine] == ["m.csv:2"]


def test_a_workbook_is_a_manifest(study):
    openpyxl = pytest.importorskip("openpyxl", reason="needs pip install 'veilray[excel]'")
    book = openpyxl.Workbook()
    for row in (["File", "Patient", "Label", "bmi"], ["a/0.png", 7, "x", 22.5], ["a/1.png", None, "#N/A", None]):
        book.active.append(row)
    book.save(study / "m.xlsx")
    assert facts(study / "m.xlsx") == [("a/0.png", "7", "x", {"bmi": "22.5"}), ("a/1.png", None, None, {})]


def test_parquet(study):
    pandas = pytest.importorskip("pandas", reason="the tables extra is not installed")
    table = pandas.DataFrame({"path": ["a/0.png", "a/1.png"], "patient": [7, np.nan], "sex": ["F", None]})
    table.to_parquet(study / "m.parquet")
    first, second = Collection.open(study / "m.parquet").refs
    assert (first.patient, first.conditions, second.patient, second.conditions) == ("7", {"sex": "F"}, None, {})


def test_a_damaged_parquet_is_an_error(study):
    pytest.importorskip("pyarrow", reason="the tables extra is not installed")
    (study / "m.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="must be a Parquet file"):
        Collection.open(study / "m.parquet")


def test_parquet_without_the_extra_names_the_cure(study, monkeypatch):
    (study / "m.parquet").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "veilray\[tables\]"'):
        Collection.open(study / "m.parquet")


def test_all_rows_in_quarantine_is_an_error_that_holds_them(study):
    with pytest.raises(EmptyCollectionError, match="must hold one image or more") as caught:
        Collection.open(write(study, "path\nsecret-name.png\n"))
    assert caught.value.quarantine[0].source == "secret-name.png"
    assert "secret-name.png: cannot be read: file is absent" in str(caught.value)
