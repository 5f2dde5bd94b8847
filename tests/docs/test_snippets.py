"""Commands, settings, Python, JSON, YAML and make targets in the documents are valid."""

import json
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.exceptions import TyperException

from docs.generate.commands import contexts
from docs.generate.settings import variables
from stream_app.loading import load_pipeline
from stream_app.starter.starter import write_starter
from tests.docs.documents import DOCUMENTS, Document
from tests.running_system import ROOT

COMMANDS = {context.command_path: context.command for context in contexts()}
GROUPS = {path.rpartition(" ")[0] for path in COMMANDS}
SHELL = {"", "sh", "bash", "console"}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=str)


def command_lines(document: Document) -> Iterator[list[str]]:
    """Yields the words of every command in the code blocks, without comments and redirections."""
    for block in document.blocks:
        if block.language in SHELL:
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from simple_commands(line)
        elif block.language == "ini":
            for command in re.findall("^ExecStart=(.+)$", block.text, re.MULTILINE):
                yield from simple_commands(command)


def simple_commands(line: str) -> Iterator[list[str]]:
    """Yields the commands of a line.

    >>> list(simple_commands("A=1 stream-app up 'my file' > log | head && ls  # all"))
    [['stream-app', 'up', 'my file'], ['head'], ['ls']]
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        # Prose with an apostrophe.
        return
    for part in " ".join(
        "\0" if set(word) <= set("|&;") else shlex.quote(word) for word in words
    ).split("\0"):
        command = shlex.split(re.split(r" '?[0-9]?[<>]", part)[0])
        while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
            command.pop(0)
        if command:
            yield command


def test_the_documents_have_commands_and_blocks_of_every_language() -> None:
    named = {
        words[0].rpartition("/")[2] for document in DOCUMENTS for words in command_lines(document)
    }
    assert {"stream-app", "make"} <= named
    assert {"python", "json", "yaml", "ini"} <= {
        block.language for document in DOCUMENTS for block in document.blocks
    }


def test_an_invalid_command_line_is_an_error() -> None:
    for line in (
        "stream-app consume f.py scored --sinc 1h",
        "stream-app consume f.py score",
        "stream-app topics drop f",
    ):
        (words,) = simple_commands(line)
        with pytest.raises((AssertionError, TyperException)):
            parse(words)


def parse(words: list[str]) -> None:
    """Parses a command line as the program does; raises its usage error."""
    if words[1:2] == ["--debug"]:
        words = [words[0], *words[2:]]
    if words[-1] == "--help" and (
        " ".join(words[:-1]) in COMMANDS or " ".join(words[:-1]) in GROUPS
    ):
        return
    length = 3 if " ".join(words[:2]) in GROUPS else 2
    name = " ".join(words[:length])
    assert name in COMMANDS, f"{name} is not a command"
    COMMANDS[name].make_context(name, words[length:])


@each_document
def test_command_lines_are_valid(document: Document) -> None:
    for words in command_lines(document):
        if words[0].rpartition("/")[2] == "stream-app":
            parse(["stream-app", *words[1:]])


@each_document
def test_commands_in_the_text_exist(document: Document) -> None:
    for code in document.codes:
        words = code.split()
        if words[0] == "stream-app" and len(words) > 1 and not words[1].startswith("-"):
            found = [
                path
                for path in {*COMMANDS, *GROUPS}
                if [*words, ""][: len(path.split())] == path.split()
            ]
            assert any(path != "stream-app" for path in found), f"{document}: {code}"
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            known = COMMANDS.get(max(found, key=len))
            assert options <= {"--help", *(_options(known) if known else ())}, f"{document}: {code}"


def _options(command: Any) -> set[str]:
    return {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


@each_document
def test_make_targets_exist(document: Document) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [*command_lines(document), *(code.split() for code in document.codes)]
    for words in lines:
        if words[0] == "make":
            assert {word for word in words[1:] if re.fullmatch("[a-z]+", word)} <= targets, (
                f"{document}: {words}"
            )


@each_document
def test_modules_that_are_run_exist(document: Document) -> None:
    lines = [*command_lines(document), *(code.split() for code in document.codes)]
    for words in lines:
        if words[:2] == ["python", "-m"]:
            assert find_spec(words[2]), f"{document}: {words}"


@each_document
def test_settings_exist(document: Document) -> None:
    known = set(variables())
    for name in re.findall(r"STREAM_APP_\w+", document.text):
        section = name.endswith("_") and any(variable.startswith(name) for variable in known)
        assert name in known or section or name == "STREAM_APP_", f"{document}: {name}"


@each_document
def test_python_compiles(document: Document) -> None:
    for block in document.blocks:
        if block.language in ("python", "py"):
            compile(block.text, str(document), "exec")


@each_document
def test_json_is_valid(document: Document) -> None:
    for block in document.blocks:
        if block.language == "json":
            json.loads(block.text)


@each_document
def test_yaml_is_valid(document: Document) -> None:
    for block in document.blocks:
        if block.language in ("yaml", "yml"):
            yaml.safe_load(block.text)


def test_the_pipeline_of_the_readme_loads_beside_the_files_of_init(tmp_path: Path) -> None:
    write_starter("payments", tmp_path)
    (text,) = (block.text for block in DOCUMENTS[0].blocks if block.language == "python")
    (tmp_path / "readme.py").write_text(text)
    pipeline = load_pipeline(str(tmp_path / "readme.py"))
    assert pipeline.features({"amount": 10.0, "country": "NL", "card_age_days": None})
