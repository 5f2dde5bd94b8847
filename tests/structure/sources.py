"""Python files of the project, parsed once."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Source(NamedTuple):
    """A parsed file; `path` is relative to the project's root."""

    path: Path
    text: str
    tree: ast.Module

    def __str__(self) -> str:
        return str(self.path)


@cache
def sources(folder: str) -> tuple[Source, ...]:
    """Return the Python files below a folder of the project."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return tuple(
        Source(f.relative_to(ROOT), f.read_text(), ast.parse(f.read_text())) for f in files
    )


def docstrings(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every docstring in a file, attribute descriptions included."""
    for node in ast.walk(source.tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text.strip()
