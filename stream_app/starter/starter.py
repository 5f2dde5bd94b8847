"""Writes the starter pipeline, or the pipeline of a table or of topics, into a folder."""

import os
import re
import sys
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from stream_app.errors import InputError, OutputError, PipelineError
from stream_app.settings import Settings
from stream_app.starter.generated_pipeline import table_files
from stream_app.starter.generated_sources import sample_file, sample_lines, topic_files
from stream_app.starter.pipeline_guess import PipelineGuess, guess_pipeline
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.table_sample import read_sample
from stream_app.starter.topic_columns import topic_columns
from stream_app.starter.topic_guess import TopicGuess, guess_topics
from stream_app.starter.topic_sample import sample_topic
from stream_app.topic_kinds import KINDS, topic_name
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


class ChosenTopics(NamedTuple):
    """Topics that a pipeline is guessed from; `labels` is None if there is no topic of labels."""

    events: str
    labels: str | None = None


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
    _write(folder, texts)
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
    _check(name)
    guess = guess_pipeline(read_sample(path, file_format), chosen)
    from_folder = os.path.relpath(path, folder)
    texts = {folder / file: text for file, text in table_files(name, from_folder, guess).items()}
    _write(folder, texts)
    return list(texts), guess


def write_pipeline_of_topics(
    name: str, folder: Path, settings: Settings, topics: ChosenTopics, chosen: ChosenColumns
) -> tuple[list[Path], TopicGuess]:
    """Write a pipeline for topics, and return the paths and the guesses that it consists of.

    Args:
        name: name of the pipeline and of its module.
        folder: folder to write into; it is created if missing.
        settings: settings of the cluster and the schema registry.
        topics: topics to look at.
        chosen: fields that need not be guessed.

    Raises:
        PipelineError: the name cannot be that of a pipeline or of its module.
        InputError: a topic has too few records, or a part of the pipeline cannot be guessed.
        TopicsError, AccessError, KafkaUnavailableError: a topic cannot be read.
        RegistryError: records are Avro, and the registry does not answer.
        OutputError: a file exists already, in which case none is written; or cannot be written.
    """
    _check(name)
    _check_topics(name, topics)
    samples = [sample_topic(settings, topic) for topic in topics if topic]
    events, *labels = map(topic_columns, samples)
    guess = guess_topics(events, labels[0] if labels else None, chosen)
    sources = [guess.events, *([guess.labels] if guess.labels else [])]
    files = topic_files(name, guess) | {
        sample_file(source): sample_lines(source)
        for source in sources
        if source.columns.sample.format == "json"
    }
    texts = {folder / file: text for file, text in files.items()}
    _write(folder, texts)
    return list(texts), guess


def _check_topics(name: str, topics: ChosenTopics) -> None:
    if topics.events == topics.labels:
        raise InputError(
            f"{topics.events} is named for events and for labels",
            "Leave out --label-topic, or name another topic",
        )
    own = {topic_name(name, kind) for kind in KINDS}
    for topic in topics:
        if topic in own:
            raise InputError(
                f"{topic} would be a topic of the pipeline {name} itself",
                "Choose another name for the pipeline",
            )


def _write(folder: Path, texts: Mapping[Path, str]) -> None:
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
