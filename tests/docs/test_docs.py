"""The documentation says what the code does: commands, options, links, examples, the card.

`python tests/docs/test_docs.py` writes the option tables of `docs/reference/cli.md` and the card of `README.md` anew.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import typer

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
CLI_PAGE = DOCS / "reference" / "cli.md"
PAGES = [REPOSITORY / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")] + sorted(DOCS.rglob("*.md"))
NAMES = [str(page.relative_to(REPOSITORY)) for page in PAGES]

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
TABLE = re.compile(r"<!-- options of (.+?) -->\n.*?<!-- end -->", re.DOTALL)
FILE_SHOWN = re.compile(r'^```python title="src/(veilray/\S+)\.py"', re.MULTILINE)
MACHINE_WORDS = re.compile(r"/(?:root|work|home|opt|tmp)/|\.\./shared|file://|extra-index|find-links")


def commands() -> dict[str, Any]:
    """Every command by its words, such as `fit dp-glow`."""
    from veilray.cli.main import app

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if not inner:
            yield " ".join(words), command
        for name, sub in (inner or {}).items():
            yield from walk(sub, (*words, name))

    return dict(walk(typer.main.get_command(app), ()))


def option_table(command: Any) -> str:
    """Arguments and options of a command as a Markdown table."""
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for parameter in command.params:
        argument = parameter.param_type_name == "argument"
        name = parameter.name.upper() if argument else ", ".join(parameter.opts)
        text = (parameter.help or "").replace("|", "\\|")
        if getattr(parameter, "multiple", False):
            text += " May be repeated."
        lines.append(f"| `{name}` | {_default(parameter)} | {text} |")
    return "\n".join(lines)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    if getattr(parameter, "is_flag", False):
        return "off"
    return "" if parameter.default in (None, "") else f"`{parameter.default}`"


def with_tables(page: str) -> str:
    """The page with each option table written anew."""
    known = commands()
    return TABLE.sub(
        lambda found: f"<!-- options of {found[1]} -->\n\n{option_table(known[found[1]])}\n\n<!-- end -->", page
    )


def fences(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text("utf-8"))
    return [
        "\n".join(line.removeprefix(indent) for line in body.splitlines())
        for indent, language, body in found
        if language in languages
    ]


def shown_commands(page: Path, program: str = "veilray") -> list[list[str]]:
    """The words after each call of a program in the fenced shell blocks of a page."""
    lines = [
        line.strip()
        for block in fences(page, "bash", "sh", "console")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    without_variables = [[word for word in words if not re.match(r"[A-Z_]+=", word)] for words in split]
    return [words[1:] for words in without_variables if words and Path(words[0]).name == program]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shown_has_this_form(name: str) -> None:
    known = commands()
    for words in shown_commands(REPOSITORY / name):
        if "--help" in words:
            words.remove("--help")
            assert not words or any(each.split()[: len(words)] == words for each in known), words
            continue
        deep = next((n for n in (2, 1) if " ".join(words[:n]) in known), 0)
        assert deep, f"no such command: veilray {' '.join(words)}"
        # Parsed as the shell would call it, never run.
        known[" ".join(words[:deep])].make_context("veilray", words[deep:])


@pytest.mark.parametrize("name", NAMES)
def test_every_command_named_in_the_text_exists(name: str) -> None:
    known = commands()
    groups = {each.split()[0] for each in known}
    for text in re.findall(r"`veilray ([a-z][^`]*)`", prose(REPOSITORY / name)):
        words = text.split()
        command = known.get(" ".join(words[:2])) or known.get(words[0])
        assert command is not None or words[0] in groups, text
        options = {option for parameter in getattr(command, "params", []) for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options | {"--help"}, text


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_and_picture_resolves(name: str) -> None:
    page = REPOSITORY / name
    missing = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_no_word_of_a_machine(name: str) -> None:
    text = (REPOSITORY / name).read_text("utf-8")
    assert MACHINE_WORDS.findall(text) == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert [page for page in pages if f": {page}\n" not in navigation] == []


def test_the_option_tables_are_those_of_the_command_line() -> None:
    page = CLI_PAGE.read_text("utf-8")
    assert sorted(TABLE.findall(page)) == sorted(commands())
    assert page == with_tables(page), "write them anew: python tests/docs/test_docs.py"


@pytest.mark.parametrize("name", NAMES)
def test_python_examples_use_names_that_exist(name: str) -> None:
    import veilray

    page = REPOSITORY / name
    shown = {place.replace("/", ".") for place in FILE_SHOWN.findall(page.read_text("utf-8"))}
    for block in fences(page, "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and (node.module or "").split(".")[0] == "veilray"
                and node.module not in shown
            ):
                module = importlib.import_module(node.module or "")
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "veilray":
                assert node.attr in veilray.__all__
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("veilray.release", "veilray.fit"):
                _has_keywords(getattr(veilray, ast.unparse(node.func).split(".")[1]), node)


def _has_keywords(function: Any, call: ast.Call) -> None:
    from veilray.methods import METHODS

    accepted = set(inspect.signature(function).parameters)
    if "options" in accepted:
        accepted |= set(inspect.signature(METHODS[ast.literal_eval(call.args[0])].fit).parameters)
    assert {keyword.arg for keyword in call.keywords} <= accepted


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("run-a-study.md")])
def test_layout_examples_are_layouts(name: str) -> None:
    from veilray.images import parse_layout

    for block in fences(REPOSITORY / name, "toml"):
        parse_layout(block)


def test_the_kermany_example_tells_children_apart() -> None:
    from veilray.images import parse_layout

    (layout,) = [
        parse_layout(block) for block in fences(DOCS / "how-to" / "your-own-images.md", "toml") if "kermany" in block
    ]
    keys = {
        layout.facts(f"train/PNEUMONIA/{name}.jpeg").patient
        for name in ("person1000_bacteria_2931", "person1000_virus_1681", "person1000_bacteria_2932")
    }
    assert len(keys) == 2


def readme_card() -> str:
    """The card that README.md shows."""
    from veilray.privacy import MECHANISMS, Claim
    from veilray.privacy.card import card_text
    from veilray.privacy.guarantee import ConditionPolicy, ModelTraining, Releases

    guarantee = (
        MECHANISMS["laplace"]
        .calibrate(Claim.of("8"), 28 * 28)
        .guarantee(28 * 28)
        .with_release(
            releases=Releases(images=1000, patients=400, largest_patient=5),
            conditions={"label": ConditionPolicy(policy="randomised", epsilon=Fraction(1), levels=10)},
            model_training=ModelTraining(data="public", statement="a public set of other patients"),
        )
    )
    return card_text(guarantee, width=92).strip()


def test_the_card_in_the_readme_is_what_the_card_says() -> None:
    shown = fences(REPOSITORY / "README.md", "text")
    assert [block.strip() for block in shown] == [readme_card()], "write it anew: python tests/docs/test_docs.py"


def test_the_figures_in_the_text_follow_from_the_code() -> None:
    from veilray.privacy import MECHANISMS, Claim, reidentification_ceiling
    from veilray.privacy.mechanisms.randomised_response import transition_matrix

    dp_glow = (DOCS / "concept" / "dp-glow.md").read_text("utf-8")
    for epsilon in ("10", "3", "1", "0.01"):
        (row,) = re.findall(rf"^\| {epsilon} \| ([\d.,]+) \| ([\d.,]+) \|$", dp_glow, re.MULTILINE)
        for told, dimension in zip(row, (784, 4096), strict=True):
            claim = Claim.of(epsilon, unit="element")
            image = MECHANISMS["laplace"].calibrate(claim, dimension).guarantee(dimension).image_epsilon
            assert Fraction(told.replace(",", "")) == image
    claim_page = (DOCS / "concept" / "the-claim.md").read_text("utf-8")
    (odds,) = re.findall(r"^\| right one among 1,000, at most \| (.+) \|$", claim_page, re.MULTILINE)
    for told, epsilon in zip(odds.split(" | "), (1, 2, 4, 8, 16), strict=True):
        exact = 100 * reidentification_ceiling(epsilon, 1000)
        assert exact <= float(told.removesuffix(" %")) <= 1.04 * exact
    labels = (DOCS / "how-to" / "labels-and-conditions.md").read_text("utf-8")
    for epsilon in ("1", "2", "4"):
        (row,) = re.findall(rf"^\| {epsilon} \| (\d+) % \| (\d+) % \|$", labels, re.MULTILINE)
        for told, levels in zip(row, (2, 10), strict=True):
            assert abs(100 * transition_matrix(levels, epsilon)[0, 0] - int(told)) <= 0.5


def test_the_mechanisms_listed_are_those_registered() -> None:
    from veilray.privacy import MECHANISMS

    headings = re.findall(r"^## `(\w+)`$", (DOCS / "reference" / "mechanisms.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(MECHANISMS)


def test_the_fields_of_the_claim_are_all_explained() -> None:
    from veilray.privacy.guarantee import Guarantee
    from veilray.releases import ModelCard

    for fields, page in (
        (Guarantee.__dataclass_fields__, "guarantee.md"),
        (ModelCard.model_fields, "model-card.md"),
    ):
        explained = re.findall(r"^\| `(\w+)`", (DOCS / "reference" / page).read_text("utf-8"), re.MULTILINE)
        assert [field for field in fields if field not in explained] == []


@pytest.mark.slow
def test_the_documentation_builds_strictly_without_network(tmp_path: Path) -> None:
    pytest.importorskip("material", reason='the documentation needs mkdocs-material: pip install -e ".[docs]"')
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*_): raise OSError('no network in this build')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
    )
    site = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    fetched = re.compile(r"<(?:script|img|iframe)[^>]+src=[\"']?(?:https?:)?//[^>]+>|<link[^>]+(?:https?:)?//[^>]+>")
    for page in site.rglob("*.html"):
        foreign = [tag for tag in fetched.findall(page.read_text("utf-8")) if "canonical" not in tag]
        assert foreign == [], page


if __name__ == "__main__":
    CLI_PAGE.write_text(with_tables(CLI_PAGE.read_text("utf-8")), "utf-8")
    readme = REPOSITORY / "README.md"
    card = re.compile(r"(?<=```text\n).*?(?=\n```)", re.DOTALL)
    readme.write_text(card.sub(lambda _: readme_card(), readme.read_text("utf-8"), count=1), "utf-8")
