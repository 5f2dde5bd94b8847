"""Kinds of topics of a pipeline, and their full names."""

from typing import Literal, get_args

InputKind = Literal["raw", "labels"]
"""Topics to which a user's programs write."""

DeadLetterKind = Literal["raw.dlq", "labels.dlq"]
"""Topics of records that were rejected."""

PartitionedKind = Literal[
    # Events to score.
    "raw",
    # Labels of events, which arrive later.
    "labels",
    # Events that were dead letters, sent to be scored again.
    "raw.replay",
    # Records of sources that were dead letters of the role `ingest`, sent to be read again.
    "ingest.replay",
    # Predictions.
    "scored",
    # Dead letters of `raw` and `raw.replay`.
    "raw.dlq",
    # Dead letters of `labels`.
    "labels.dlq",
    # What became of each label.
    "label_outcomes",
    # Changelog of the scorers' state.
    "score.state",
]
"""Kinds with one common partition count: partition p of each belongs to the same task."""

SinglePartitionKind = Literal[
    # Labelled predictions to learn from, and control records, in one order.
    "examples",
    # Manifests and aliases of model versions.
    "models",
    # Watermarks of the partitions, with the offsets from which they hold.
    "watermarks",
    # Measurements, alarms of workers and corrective actions.
    "monitoring",
    # Alarms that the monitor decides, acknowledgements and silences.
    "alarms",
    # Audit entries of operations.
    "audit",
    # Operations on dead letters and the progress of replays.
    "replays",
    # Changelog of the learner's state.
    "learn.state",
    # Changelog of the monitor's state.
    "monitor.state",
    # State of the role `ingest`, by partition of its sources.
    "ingest.state",
]
"""Kinds with exactly one partition."""

TopicKind = Literal[PartitionedKind, SinglePartitionKind]
"""Kind of a topic: the part of its name after the pipeline's name and a dot."""

INPUT_KINDS: tuple[InputKind, ...] = get_args(InputKind)
DEAD_LETTER_KINDS: tuple[DeadLetterKind, ...] = get_args(DeadLetterKind)
PARTITIONED: tuple[TopicKind, ...] = get_args(PartitionedKind)
KINDS: tuple[TopicKind, ...] = get_args(TopicKind)
SOURCE_KINDS: tuple[TopicKind, ...] = ("ingest.replay", "ingest.state")
"""Kinds that only pipelines with sources have."""


def topic_name(pipeline: str, kind: TopicKind) -> str:
    """Return the full name of a pipeline's topic.

    >>> topic_name("flights", "raw.dlq")
    'flights.raw.dlq'
    """
    return f"{pipeline}.{kind}"


def is_replay_topic(topic: str) -> bool:
    """Return True for the full name of a topic that only replays write.

    >>> is_replay_topic("flights.raw.replay"), is_replay_topic("flights.raw")
    (True, False)
    """
    return topic.endswith(".raw.replay")
