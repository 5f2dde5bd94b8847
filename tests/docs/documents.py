"""The documents of the project, taken apart: links, headings, blocks of code, code within the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.running_system import ROOT

UNCHECKED = "<!-- unchecked -->"
"""On the line above a block of code that is not meant to be right."""

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code, with the language that it says it is in."""

    language: str
    text: str


@dataclass(frozen=True)
class Document:
    """A Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _BLOCK.sub("", self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks that are to be checked."""
        found = _BLOCK.finditer(self.text)
        return [
            Block(m[2], m[3])
            for m in found
            if not self.text[: m.start()].rstrip().endswith(UNCHECKED)
        ]

    @cached_property
    def codes(self) -> list[str]:
        """Code within the text."""
        return _CODE.findall(self.prose)

    @cached_property
    def links(self) -> list[str]:
        """What its links point at, other than other sites."""
        found = _LINK.findall(_CODE.sub("", self.prose))
        return [target for target in found if not re.match(r"\w+:", target)]

    @cached_property
    def headings(self) -> list[str]:
        return re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)

    @cached_property
    def anchors(self) -> set[str]:
        """The names under which GitHub links to the headings."""
        return {anchor(heading) for heading in self.headings}

    def section(self, heading: str) -> str:
        """What stands under a heading, up to the next of its level or above."""
        match = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", self.text, re.MULTILINE | re.DOTALL)
        assert match, f"{self} has no heading {heading}"
        return re.split(rf"^#{{1,{len(match[1])}}} ", match[2], maxsplit=1, flags=re.MULTILINE)[0]


def anchor(heading: str) -> str:
    """GitHub's: lower case, punctuation gone, blanks are hyphens.

    >>> anchor("When `data` is gone: what now?")
    'when-data-is-gone-what-now'
    """
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _found() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))
    yield from sorted((ROOT / "schemas").glob("*.md"))


DOCUMENTS = [Document(path) for path in _found()]
OPERATIONS = Document(ROOT / "docs" / "operations.md")
ARCHITECTURE = Document(ROOT / "docs" / "architecture.md")
