"""Markdown in GitHub's dialect."""

import re
from collections.abc import Iterable, Sequence
from inspect import cleandoc
from textwrap import dedent


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table without the columns that are empty in every row.

    >>> print(table(["name", "note"], [["a|b", ""]]), end="")
    | name |
    |---|
    | a\\|b |
    """
    cells = [[cell(text) for text in row] for row in rows]
    shown = [column for column in range(len(head)) if any(row[column] for row in cells)]
    lines = [
        [head[column] for column in shown],
        *([row[column] for column in shown] for row in cells),
    ]
    rendered = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([rendered[0], "|" + "---|" * len(shown), *rendered[1:]]) + "\n"


def cell(text: str) -> str:
    """Returns text for a cell of a table: one line, without unescaped pipes.

    >>> cell("on `<p>.raw`, <p>\\nor a|b")
    'on `<p>.raw`, &lt;p> or a\\\\|b'
    """
    return escaped(" ".join(text.split())).replace("|", "\\|")


def escaped(text: str) -> str:
    """Returns text without tags and with environment variables as code; code is unchanged.

    >>> escaped("Set STREAM_APP_LOG__LEVEL of <p> and `<p>`")
    'Set `STREAM_APP_LOG__LEVEL` of &lt;p> and `<p>`'
    """
    parts = re.split("(`[^`]*`)", text)
    parts[::2] = [
        re.sub("STREAM_APP_[A-Z_]+", r"`\g<0>`", part.replace("<", "&lt;")) for part in parts[::2]
    ]
    return "".join(parts)


def code(text: object) -> str:
    """Returns text as inline code, or "" for empty text.

    >>> code("a"), code("")
    ('`a`', '')
    """
    return f"`{text}`" if str(text) else ""


def codes(texts: Iterable[object]) -> str:
    """Returns texts as a list of inline code.

    >>> codes(["a", "b"])
    '`a`, `b`'
    """
    return ", ".join(map(code, texts))


def fence(text: str, language: str = "") -> str:
    """Returns a code block."""
    return f"```{language}\n{text.strip()}\n```\n"


def paragraphs(text: str | None) -> str:
    """Returns a docstring as Markdown, each paragraph on one line and with single backticks.

    An indented paragraph and one that begins with `>>>` become a block of code.

    >>> paragraphs("One\\n    line. ``x``\\n\\n    Two.")
    'One line. `x`\\n\\nTwo.'
    >>> print(paragraphs("One:\\n\\n        two()\\n\\n    Three."))
    One:
    <BLANKLINE>
    ```python
    two()
    ```
    <BLANKLINE>
    Three.
    """
    found = re.split(r"\n\s*\n", cleandoc(text or ""))
    return "\n\n".join(
        fence(dedent(paragraph), "pycon" if paragraph.startswith(">>>") else "python").strip()
        if paragraph.startswith((">>> ", "    "))
        else escaped(" ".join(paragraph.split()).replace("``", "`"))
        for paragraph in found
    )
