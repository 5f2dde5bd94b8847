"""Writes the starter pipeline into a folder."""

import re
import sys
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path

from stream_app.errors import OutputError, PipelineError

_FILES = {
    "NAME.py": "pipeline.py.txt",
    "NAME.avsc": "event.avsc",
    "NAME_label.avsc": "label.avsc",
    "events.jsonl": "events.jsonl",
    "labels.jsonl": "labels.jsonl",
    "test_NAME.py": "test_pipeline.py.txt",
    "README.md": "README.md.txt",
}


def write_starter(name: str, folder: Path) -> list[Path]:
    """Write the files of a starter pipeline and return their paths.

    Args:
        name: name of the pipeline and of its module.
        folder: folder to write into; it is created if missing.

    Raises:
        PipelineError: the name cannot be that of a pipeline or of its module.
        OutputError: a file exists already, in which case none is written; or cannot be written.
    """
    _check(name)
    templates = files("stream_app.starter") / "files"
    texts = {
        folder / target.replace("NAME", name): (templates / source)
        .read_text("utf-8")
        .replace("NAME", name)
        for target, source in _FILES.items()
    }
    present = [path for path in texts if path.exists()]
    if present:
        raise OutputError(
            f"{present[0]} already exists", "Choose another name, or another folder with --dir"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise OutputError(
            f"{error.filename} cannot be written: {error.strerror}", "Choose a folder with --dir"
        ) from None
    return list(texts)


def _check(name: str) -> None:
    if re.fullmatch("[a-z0-9][a-z0-9-]{0,99}", name) is None:
        raise PipelineError(
            f"{name!r} cannot be the name of a pipeline",
            "Use up to 100 lower-case letters, digits and hyphens, the first not a hyphen",
        )
    if name in sys.stdlib_module_names or name in packages_distributions():
        raise PipelineError(
            f"{name}.py would hide the Python module {name} from its tests", "Choose another name"
        )
