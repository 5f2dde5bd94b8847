"""The reference: one Markdown page for each thing that the code declares, from nothing but those declarations."""

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
"""File name to the function that gives its text, in the order in which a newcomer wants them."""

_FOOTER = "\n---\n\nGenerated from the code by `make docs`.\n"


def generate() -> dict[Path, str]:
    """Every page's file with its text; the same wherever and whenever it is called."""
    return {REFERENCE / name: page() + _FOOTER for name, page in PAGES.items()}
