"""What the documentation tells people to type exists: commands, options, targets, files."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from fedward.common.config import parse_study
from fedward.common.models import MODELS
from fedward.sims.cameras import CAMERAS
from fedward.sims.cli import main
from fedward.sims.recipes import RECIPES
from fedward.sims.studies import check_study

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))

FLAGS = re.MULTILINE | re.DOTALL
FENCED = re.compile(r"^```sh\n(.*?)^```", FLAGS)
INLINE = re.compile(r"`((?:fedward|make) [^`]+)`")
LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")


def page(path: Path) -> str:
    return path.name


def command_lines(text: str) -> Iterator[list[str]]:
    """Every command of a page as words, without prompts, comments and environment settings."""
    for block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;", line.split(" #")[0]):
                words = shlex.split(part)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words:
                    yield words
    for snippet in INLINE.findall(text):
        yield shlex.split(snippet)


def resolve(words: list[str]) -> click.Command:
    """The command of a ``fedward`` command line, parsed without looking at its values.

    Raises:
        click.UsageError: no such command or option, a value missing, an argument too many.
    """
    command: click.Command = main
    rest = words[1:]
    context = click.Context(command, info_name="fedward")
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        inner = command.get_command(context, rest[0])
        if inner is None:
            raise click.UsageError(f"no command {rest[0]!r}")
        command, rest = inner, rest[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    _, left, _ = command.make_parser(context).parse_args(list(rest))
    if left:
        raise click.UsageError(f"too much: {left}")
    return command


def anchors(text: str) -> set[str]:
    """Where links into a page may lead: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def options(command: click.Command) -> set[str]:
    found = {name for parameter in command.params for name in parameter.opts}
    return {name for name in found if name.startswith("--")}


def test_the_reader_of_pages_sees_commands() -> None:
    text = "a `make demo`\n```sh\nA=1 fedward simulate x \\\n  --seed 3  # why\n. ./f && ls\n```\n"
    assert list(command_lines(text)) == [
        ["fedward", "simulate", "x", "--seed", "3"],
        [".", "./f"],
        ["ls"],
        ["make", "demo"],
    ]


@pytest.mark.parametrize("line", ["fedward nonsense", "fedward simulate --nonsense"])
def test_a_wrong_command_is_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        resolve(line.split())


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_commands_and_options_exist(path: Path) -> None:
    for words in command_lines(path.read_text(encoding="utf-8")):
        assert words[0] != "fedward" or resolve(words), words


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_make_targets_exist(path: Path) -> None:
    for words in command_lines(path.read_text(encoding="utf-8")):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= TARGETS, words


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_links_and_pictures_lead_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        there = path.parent / target if target else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), anchor


def test_every_option_is_described() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    simulate = main.commands["simulate"]
    assert {name for name in options(simulate) if f"`{name}" not in text} == set()


def test_every_model_recipe_and_camera_is_described() -> None:
    text = (ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")
    named = [*MODELS, *RECIPES, *CAMERAS]
    assert [name for name in named if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", RECIPES)
def test_the_table_of_recipes_is_true(name: str) -> None:
    text = (ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")
    study = RECIPES[name]()
    privacy = f"epsilon {study.privacy.epsilon:g}" if study.privacy else "none"
    cells = [f"`{name}`", f"`{study.training.model}`", str(study.hospitals.count), privacy]
    assert f"| {' | '.join(cells)} |" in text


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_example_studies_are_valid(path: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(encoding="utf-8"), FLAGS):
        assert check_study(parse_study(yaml.safe_load(block)))


def test_the_readme_names_the_two_commands_first() -> None:
    first = list(command_lines((ROOT / "README.md").read_text(encoding="utf-8")))[:2]
    assert first == [["make", "demo"], ["make", "test"]]
