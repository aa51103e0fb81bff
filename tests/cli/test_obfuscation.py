"""The owner's and the cloud's commands as a user meets them, from `fit obfuscation` to predictions."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., "object"]
EMPIRICAL = "empirical, no formal guarantee"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return discs(tmp_path_factory.mktemp("public") / "public.npz", 40, 0)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    return discs(tmp_path / "private.npz", 200, 1)


@pytest.fixture
def owner(veilray: Run, public: Path, tmp_path: Path) -> Callable[..., tuple[object, ...]]:
    """A model and a key; gives the options that name them."""

    def make(name: str = "model", **options: object) -> tuple[object, ...]:
        given = [part for what, value in options.items() for part in (f"--{what.replace('_', '-')}", value)]
        shape = ("--size", 28, "--encoder", "none", "--map-scope", "key")
        assert veilray("fit", "obfuscation", public, "--out", tmp_path / name, *shape, *given).code == 0
        if not (tmp_path / "key").exists():
            assert veilray("keys", "new", "--out", tmp_path / "key").code == 0
        return ("--model", tmp_path / name, "--key", tmp_path / "key")

    return make


def discs(path: Path, count: int, seed: int) -> Path:
    """A disc on the left or on the right, under noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:28, :28]
    kinds = np.arange(count) % 2
    disc = (rows - 14) ** 2 + (columns - np.array([7, 20])[kinds][:, None, None]) ** 2 < 30
    images = (disc * 150 + rng.integers(0, 40, (count, 28, 28))).astype(np.uint8)
    np.savez(path, images=images, label=np.array(["left", "right"])[kinds])
    return path


def test_from_owner_to_cloud_and_back_in_the_documented_order(
    veilray: Run, public: Path, private: Path, tmp_path: Path
) -> None:
    said = []
    model, key, out = tmp_path / "model", tmp_path / "key", tmp_path / "out"
    said.append(veilray("fit", "obfuscation", public, "--out", model, "--size", 28, "--encoder", "pca",
                        "--features", 8, "--map-scope", "key", "--map-smoothness", 1))  # fmt: skip
    assert "keeps" in said[-1].out
    assert "pca on held-out images: ssim" in said[-1].out
    said.append(veilray("keys", "new", "--out", key))
    said.append(veilray("keys", "show-public", key))
    record = tmp_path / "record"
    said.append(veilray("obfuscate", private, "--model", model, "--key", key, "--out", out, "--record", record))
    assert "In clear, in labels.csv: left, right" in said[-1].out
    classifier = tmp_path / "classifier"
    said.append(veilray("cloud-train", out, "--out", classifier, "--epochs", 5, "--batch-size", 16))
    later = tmp_path / "later"
    frames = discs(tmp_path / "frames.npz", 40, 2)
    withheld = ("--label-policy", "withheld", "--record", tmp_path / "record2")
    said.append(veilray("obfuscate", frames, "--model", model, "--key", key, "--out", later, *withheld))
    said.append(veilray("cloud-predict", classifier, later, "--out", tmp_path / "p.csv"))
    for ran in said:
        assert ran.code == 0, ran.err
        assert EMPIRICAL in ran.out
    predicted = {row["path"]: row["predicted"] for row in csv.DictReader((tmp_path / "p.csv").open())}
    pairs = list(csv.DictReader((tmp_path / "record2" / "pairs.csv").open()))
    right = [predicted[row["released"]] == row["label"] for row in pairs]
    assert (len(right), np.mean(right) > 0.8) == (40, True)


def test_the_key_is_in_no_output_log_or_file(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path
) -> None:
    given = owner()
    key = tmp_path / "key"
    ran = [
        veilray("keys", "show-public", key, "--out", tmp_path / "public.json"),
        veilray("keys", "show-public", key, "--json"),
        veilray("keys", "rotate", key, "--out", tmp_path / "rotated", "--json"),
        veilray("keys", "new", "--out", key),
        veilray("obfuscate", private, *given, "--out", tmp_path / "out", "--record", tmp_path / "record"),
        veilray("obfuscate", private, *given, "--out", tmp_path / "out"),
        veilray("cloud-train", tmp_path / "out", "--out", tmp_path / "c", "--epochs", 1, "--json"),
        veilray("cloud-predict", tmp_path / "c", tmp_path / "out", "--out", tmp_path / "p.csv"),
    ]
    assert [each.code for each in ran] == [0, 0, 0, 2, 0, 2, 0, 0]
    secrets = [base64.b64decode(json.loads((tmp_path / name).read_text())["secret"]) for name in ("key", "rotated")]
    found = [each.out.encode() + each.err.encode() for each in ran]
    found += [
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("key", "rotated")
    ]
    for secret in secrets:
        for form in (secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)):
            assert not any(form in content for content in found)


def test_a_damaged_key_is_not_quoted_even_with_a_traceback(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path
) -> None:
    given = owner()
    text = (tmp_path / "key").read_text()
    secret = json.loads(text)["secret"]
    (tmp_path / "key").write_text(text.replace(secret, secret[:-8]))
    ran = veilray("obfuscate", private, *given, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "KEY must be a whole key file" in ran.err
    assert secret[:12] not in ran.out + ran.err
    (tmp_path / "key").chmod(0o644)
    refused = veilray("obfuscate", private, *given, "--out", tmp_path / "out")
    assert (refused.code, "readable by its owner only" in refused.err) == (3, True)
    assert not (tmp_path / "out").exists()


def test_another_key_is_refused_unless_it_is_allowed(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path
) -> None:
    given = owner()
    assert veilray("obfuscate", private, *given, "--out", tmp_path / "out").code == 0
    assert veilray("cloud-train", tmp_path / "out", "--out", tmp_path / "c", "--epochs", 1).code == 0
    assert veilray("keys", "rotate", tmp_path / "key", "--out", tmp_path / "key2").code == 0
    later = ("--model", tmp_path / "model", "--key", tmp_path / "key2", "--out", tmp_path / "later")
    assert veilray("obfuscate", private, *later).code == 0
    asked = ("cloud-predict", tmp_path / "c", tmp_path / "later", "--out", tmp_path / "p.csv")
    refused = veilray(*asked)
    assert (refused.code, "--allow-other-key" in refused.err) == (3, True)
    assert veilray(*asked, "--allow-other-key").code == 0
    nowhere = veilray(*asked[:-1], tmp_path / "nowhere" / "p.csv", "--allow-other-key")
    assert (nowhere.code, "--out must be a file in a folder that is there" in nowhere.err) == (2, True)


def test_another_size_is_refused(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path
) -> None:
    assert veilray("obfuscate", private, *owner(), "--out", tmp_path / "out").code == 0
    assert veilray("cloud-train", tmp_path / "out", "--out", tmp_path / "c", "--epochs", 1).code == 0
    assert veilray("obfuscate", private, *owner("large", size=32), "--out", tmp_path / "large-out").code == 0
    ran = veilray("cloud-predict", tmp_path / "c", tmp_path / "large-out", "--out", tmp_path / "p.csv")
    assert (ran.code, "pictures must be 28 x 28 with 1 channels as in training" in ran.err) == (2, True)


@pytest.mark.parametrize("file", ["model.json", "weights.safetensors"])
def test_a_truncated_model_is_refused(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path, file: str
) -> None:
    given = owner()
    path = tmp_path / "model" / file
    path.write_bytes(path.read_bytes()[:-9])
    ran = veilray("obfuscate", private, *given, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "must be" in ran.err or "truncated or altered" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


def test_a_release_of_an_obfuscation_is_refused(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path
) -> None:
    _, model, *_ = owner()
    ran = veilray("release", private, "--model", model, "--epsilon", "1", "--out", tmp_path / "release")
    assert ran.code == 3
    assert EMPIRICAL in ran.err
    assert "use `veilray obfuscate`" in ran.err
    assert not (tmp_path / "release").exists()


def test_the_card_says_that_nothing_is_claimed(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path
) -> None:
    assert veilray("obfuscate", private, *owner(), "--out", tmp_path / "out").code == 0
    ran = veilray("card", tmp_path / "out", "--html", tmp_path / "card.html")
    assert (ran.code, EMPIRICAL in ran.out, "psilon" in ran.out) == (0, True, False)
    page = (tmp_path / "card.html").read_text()
    assert EMPIRICAL in page
    assert "200 obfuscated images" in page
    told = json.loads(veilray("card", tmp_path / "out", "--json").out)
    assert (told["guarantee"], told["claim"], told["images"], "files" in told) == (None, EMPIRICAL, 200, False)
    (tmp_path / "out" / "obfuscated.json").write_text("{")
    cut = veilray("card", tmp_path / "out")
    assert (cut.code, "got another or a truncated one" in cut.err) == (2, True)


def test_refused_files_are_told_of_by_the_exit_code(
    veilray: Run, owner: Callable[..., tuple[object, ...]], tmp_path: Path
) -> None:
    from veilray.images import write_image

    (tmp_path / "study").mkdir()
    write_image(tmp_path / "study" / "good.png", np.zeros((30, 30), np.uint8))
    (tmp_path / "study" / "bad.png").write_bytes(b"no picture")
    record = tmp_path / "record"
    ran = veilray("obfuscate", tmp_path / "study", *owner(), "--out", tmp_path / "out", "--record", record, "--json")
    assert ran.code == 1
    told = json.loads(ran.out)
    assert (told["images"], told["quarantined"], told["guarantee"], told["claim"]) == (1, 1, None, EMPIRICAL)
    assert "bad.png" in (record / "quarantine.csv").read_text()
    assert "bad.png" not in ran.out + ran.err


def test_obfuscated_lies_outside_images(
    veilray: Run, owner: Callable[..., tuple[object, ...]], private: Path, tmp_path: Path
) -> None:
    given = owner()
    ran = veilray("obfuscate", tmp_path, *given, "--out", tmp_path / "out")
    assert (ran.code, "OBFUSCATED must lie outside IMAGES" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (("keys", "new"), ("--out",)),
        (("keys", "rotate"), ("--out",)),
        (("keys", "show-public"), ("--out",)),
        (("obfuscate",), ("--model", "--key", "--out", "--record", "--label-policy")),
        (("cloud-train",), ("--out", "--network", "--epochs", "--seed")),
        (("cloud-predict",), ("--out", "--allow-other-key")),
        (("fit", "obfuscation"), ("--encoder", "--order", "--map-levels", "--map-scope", "--map-smoothness", "--out")),
    ],
)
def test_help_names_the_options_and_says_what_it_is_not(
    veilray: Run, command: tuple[str, ...], options: tuple[str, ...]
) -> None:
    ran = veilray(*command, "--help")
    assert ran.code == 0
    assert EMPIRICAL in ran.out
    assert all(option in ran.out for option in options)
    assert not any(word in ran.out.lower() for word in ("encrypt", "anonymi", "epsilon"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--map-levels", 1), "map levels must be 2 to 256, got 1"),
        (("--map-smoothness", 2), "map smoothness must be 0 to 1, got 2.0"),
        (("--map-scope", "patient"), "map scope must be one of image, batch, key, got 'patient'"),
        (("--order", "no-map"), "order must be map-last without an encoder"),
        (("--encoder", "flow"), "encoder must be one of none"),
        (("--features", 3), "features must go with an encoder, got it with none"),
        (("--training-data", "mine"), "training data must be one of public"),
    ],
)
def test_wrong_use_is_named_without_a_traceback(
    veilray: Run, public: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    ran = veilray("fit", "obfuscation", public, "--out", tmp_path / "m", "--size", 28, "--encoder", "none", *options)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not (tmp_path / "m").exists()
