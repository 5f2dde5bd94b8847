"""Docstrings open with a verb or a noun, and no text uses words of this project alone."""

import re

import pytest

from tests.structure.sources import ROOT, docstrings, sources

FOLDERS = ("stream_app", "tests", "benchmarks", "docs")
OPENING = re.compile(
    r"(What|Whether|Which|Where|As|Those|How|Who|Whose|Whoever|Whatever|When|Why)\b"
)
INVENTED = re.compile(
    r"\b(tall(y|ies)|desks?|heed\w*|obey\w*|obedience|befell|befallen|lest|anew|whoever|whichever"
    r"|mend(s|ed|ing)?|relapse\w*|laborator(y|ies)|told of|tells of|untold|teller"
    r"|acquit\w*|convict\w*|scorecards?|brought forth|is to be|are to be"
    r"|goes on|go on|the loop by hand)\b",
    re.IGNORECASE,
)
QUOTED = re.compile(r"`[^`]*`")


def all_docstrings() -> list[tuple[str, str]]:
    return [
        (f"{source}:{line}", text)
        for folder in FOLDERS
        for source in sources(folder)
        for line, text in docstrings(source)
    ]


def test_no_docstring_opens_with_a_question_word() -> None:
    found = [f"{place} {text[:60]!r}" for place, text in all_docstrings() if OPENING.match(text)]
    assert not found, "\n".join(found)


def test_no_error_message_asks_a_question() -> None:
    found = [
        f"{source}:{line}"
        for source in sources("stream_app")
        for line in question_lines(source.text)
    ]
    assert not found, "\n".join(found)


def question_lines(text: str) -> list[int]:
    """Return the lines that raise an error whose text ends in a question mark."""
    return [
        text.count("\n", 0, match.start()) + 1
        for match in re.finditer(r'raise \w+Error\((?:[^()]|\([^()]*\))*\?["\']', text)
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_uses_a_word_that_only_this_project_knows(folder: str) -> None:
    found = [
        f"{source}:{number} {match[0]!r}"
        for source in sources(folder)
        if source.path.name != "test_words.py"
        for number, line in enumerate(source.text.splitlines(), 1)
        for match in INVENTED.finditer(line.replace("_", " "))
    ]
    assert not found, "\n".join(found)


def test_no_page_uses_a_word_that_only_this_project_knows() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [
        f"{page.relative_to(ROOT)}:{number} {match[0]!r}"
        for page in pages
        for number, line in enumerate(page.read_text().splitlines(), 1)
        for match in INVENTED.finditer(line.replace("_", " "))
    ]
    assert not found, "\n".join(found)
