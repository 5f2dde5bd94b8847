"""Markdown documents of the project with their links, headings, code blocks and inline code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.running_system import ROOT

UNCHECKED = "<!-- unchecked -->"
"""Line above a code block that the tests ignore."""

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """Code block with its language."""

    language: str
    text: str


@dataclass(frozen=True)
class Document:
    """Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """Text without code blocks."""
        return _BLOCK.sub("", self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        """Code blocks to check."""
        found = _BLOCK.finditer(self.text)
        return [
            Block(m[2], m[3])
            for m in found
            if not self.text[: m.start()].rstrip().endswith(UNCHECKED)
        ]

    @cached_property
    def codes(self) -> list[str]:
        """Inline code."""
        return _CODE.findall(self.prose)

    @cached_property
    def links(self) -> list[str]:
        """Targets of the links within the project."""
        found = _LINK.findall(_CODE.sub("", self.prose))
        return [target for target in found if not re.match(r"\w+:", target)]

    @cached_property
    def headings(self) -> list[str]:
        return re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)

    @cached_property
    def anchors(self) -> set[str]:
        """GitHub's anchors of the headings."""
        return {anchor(heading) for heading in self.headings}

    def section(self, heading: str) -> str:
        """Returns the text of a section, up to the next heading of its level or above."""
        match = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", self.text, re.MULTILINE | re.DOTALL)
        assert match, f"{self} has no heading {heading}"
        return re.split(rf"^#{{1,{len(match[1])}}} ", match[2], maxsplit=1, flags=re.MULTILINE)[0]


def anchor(heading: str) -> str:
    """Returns GitHub's anchor of a heading: lower case, no punctuation, hyphens for blanks.

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
