"""Writes the pipeline of topics into a folder, with their samples."""

from pathlib import Path
from typing import NamedTuple

from stream_app.errors import InputError
from stream_app.settings import Settings
from stream_app.starter.generated_sources import sample_file, sample_lines, topic_files
from stream_app.starter.record_kinds import columns_of_events
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.starter import check_name, write_files
from stream_app.starter.topic_guess import TopicGuess, guess_topics
from stream_app.starter.topic_sample import sample_topic
from stream_app.topic_kinds import KINDS, topic_name


class ChosenTopics(NamedTuple):
    """Topics that a pipeline is guessed from; `labels` is None if there is no topic of labels."""

    events: str
    labels: str | None = None


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
    check_name(name)
    _check_topics(name, topics)
    samples = [sample_topic(settings, topic) for topic in topics if topic]
    events, *labels = map(columns_of_events, samples)
    guess = guess_topics(events, labels[0] if labels else None, chosen)
    sources = [guess.events, *([guess.labels] if guess.labels else [])]
    files = topic_files(name, guess) | {
        sample_file(source): sample_lines(source)
        for source in sources
        if source.columns.sample.format == "json"
    }
    texts = {folder / file: text for file, text in files.items()}
    write_files(folder, texts)
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
