"""Generator of docs/reference: one Markdown page for each kind of declaration in the code.

- `commands`, `errors`, `metrics`, `pipeline`, `schemas`, `settings`, `topics`: one page each.
- `declarations`: fields of declared classes.
- `markdown`: tables, code and paragraphs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import commands, errors, metrics, pipeline, schemas, settings, topics

REFERENCE = Path(__file__).resolve().parent.parent / "reference"

PAGES: Mapping[str, Callable[[], str]] = {
    "pipeline.md": pipeline.page,
    "commands.md": commands.page,
    "settings.md": settings.page,
    "topics.md": topics.page,
    "schemas.md": schemas.page,
    "errors.md": errors.page,
    "metrics.md": metrics.page,
}
"""File name to the function that returns its text, in reading order."""

_FOOTER = "\n---\n\nGenerated from the code by `make docs`.\n"


def generate() -> dict[Path, str]:
    """Returns every page's file with its text, which depends on the code alone."""
    return {REFERENCE / name: page() + _FOOTER for name, page in PAGES.items()}
