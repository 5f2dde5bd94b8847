"""Writes the starter pipeline, or the pipeline of a table, into a folder."""

import os
import re
import sys
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path

from stream_app.errors import OutputError, PipelineError
from stream_app.starter.generated_pipeline import table_files
from stream_app.starter.pipeline_guess import PipelineGuess, guess_pipeline
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.table_sample import read_sample
from stream_app.transfer.input_files import Format

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
    check_name(name)
    templates = files("stream_app.starter") / "files"
    texts = {
        folder / target.replace("NAME", name): (templates / source)
        .read_text("utf-8")
        .replace("NAME", name)
        for target, source in _FILES.items()
    }
    write_files(folder, texts)
    return list(texts)


def write_pipeline_of(
    name: str, folder: Path, path: str, chosen: ChosenColumns, file_format: Format | None = None
) -> tuple[list[Path], PipelineGuess]:
    """Write a pipeline for a table, and return the paths and the guesses that it consists of.

    Args:
        name: name of the pipeline and of its module.
        folder: folder to write into; it is created if missing.
        path: path of the table.
        chosen: columns that need not be guessed.
        file_format: format of the table, by default that of its suffix.

    Raises:
        PipelineError: the name cannot be that of a pipeline or of its module.
        InputError: the table cannot be read, or a part of the pipeline cannot be guessed.
        OutputError: a file exists already, in which case none is written; or cannot be written.
    """
    check_name(name)
    guess = guess_pipeline(read_sample(path, file_format), chosen)
    from_folder = os.path.relpath(path, folder)
    texts = {folder / file: text for file, text in table_files(name, from_folder, guess).items()}
    write_files(folder, texts)
    return list(texts), guess


def write_files(folder: Path, texts: Mapping[Path, str]) -> None:
    """Write new files into a folder, which is created if missing.

    Raises:
        OutputError: one exists already, in which case none is written; or cannot be written.
    """
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


def check_name(name: str) -> None:
    """Raise `PipelineError` for a name that cannot be that of a pipeline or of its module."""
    if re.fullmatch("[a-z0-9][a-z0-9-]{0,99}", name) is None:
        raise PipelineError(
            f"{name!r} cannot be the name of a pipeline",
            "Use up to 100 lower-case letters, digits and hyphens, the first not a hyphen",
        )
    if name in sys.stdlib_module_names or name in packages_distributions():
        raise PipelineError(
            f"{name}.py would hide the Python module {name} from its tests", "Choose another name"
        )
