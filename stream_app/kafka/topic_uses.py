"""Contents, writers, readers and keys of each kind of topic; inputs of each worker role."""

from typing import NamedTuple

from stream_app.topic_kinds import TopicKind


class TopicUse(NamedTuple):
    """Use of one kind of topic.

    Attributes:
        content: one sentence about the records.
        writers: worker roles and other users that write to it. "replayer" are the commands for dead
            letters, "model-admin" those for model versions and learning, "alarm-admin" those for
            alarms; "producers" and "consumers" are the user's own programs.
        readers: likewise, those that read from it. A worker role that both reads and writes a
            `.state` topic keeps its own state there.
        key: description of the records' keys.
        schema: stem of a file in the schema folder, or field of the pipeline with the schema, or
            empty if the records are internal.
    """

    content: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    key: str
    schema: str = ""


USES: dict[TopicKind, TopicUse] = {
    "raw": TopicUse(
        "Events to score.",
        ("producers", "replayer", "ingest"),
        ("score", "replayer", "model-admin"),
        "text of the key field",
        "Pipeline.schema",
    ),
    "labels": TopicUse(
        "Labels of events.",
        ("producers", "replayer", "ingest"),
        ("score", "replayer", "model-admin"),
        "key of the event",
        "Label.schema",
    ),
    "raw.replay": TopicUse(
        "Events that were dead letters and are scored again.",
        ("replayer", "ingest"),
        ("score", "replayer"),
        "key of the event",
        "Pipeline.schema",
    ),
    "ingest.replay": TopicUse(
        "Records of sources that were dead letters of `ingest`, which reads them again.",
        ("replayer",),
        ("ingest", "replayer"),
        "key of the record in its source",
    ),
    "scored": TopicUse(
        "Predictions.",
        ("score",),
        ("monitor", "replayer", "consumers"),
        "key of the event",
        "scored",
    ),
    "raw.dlq": TopicUse(
        "Events that cannot be scored: unchanged bytes, with the reason in the headers.",
        ("score", "ingest"),
        ("replayer", "consumers"),
        "key of the event",
        "Pipeline.schema",
    ),
    "labels.dlq": TopicUse(
        "Labels that cannot be joined: unchanged bytes, with the reason in the headers.",
        ("score", "ingest"),
        ("replayer", "consumers"),
        "key of the label",
        "Label.schema",
    ),
    "label_outcomes": TopicUse(
        "What became of each label that the scorers have read.",
        ("score",),
        ("consumers",),
        "key of the label",
        "label_outcome",
    ),
    "score.state": TopicUse(
        "Changelog of a partition: pending predictions, waiting labels, known ids, record counts.",
        ("score",),
        ("score", "replayer"),
        "`b<number of a block>`, `e<identity>`, `f`, `r<topic>/<offset>`, or `t` for the record "
        "counts",
    ),
    "examples": TopicUse(
        "Predictions with their labels, in the order of learning, and control records.",
        ("score", "learn", "monitor", "model-admin"),
        ("learn", "monitor", "model-admin", "consumers"),
        "key of the event, or `control`",
        "example",
    ),
    "models": TopicUse(
        "Model versions, the aliases of the served version, pins, pauses of learning, exclusions.",
        ("learn", "monitor", "model-admin"),
        ("learn", "score", "replayer", "model-admin", "consumers"),
        "`version/<n>`, `alias/champion`, `alias/requested`, `pin/<n>`, `learning`, "
        "`learning/<source>` or `exclusion/<n>`",
        "manifest",
    ),
    "watermarks": TopicUse(
        "Watermarks of the partitions, with the offsets of scored records and examples from which "
        "they hold.",
        ("score", "model-admin"),
        ("monitor",),
        "number of the partition, or `window` for a command",
    ),
    "monitoring": TopicUse(
        "Measurements, alarms of workers and corrective actions.",
        ("score", "learn", "monitor", "ingest"),
        ("consumers",),
        "kind/name",
        "monitoring",
    ),
    "alarms": TopicUse(
        "Alarms of the monitor, each with its last change; acknowledgements and silences.",
        ("monitor", "alarm-admin"),
        ("monitor", "alarm-admin", "consumers"),
        "id of the alarm, `acknowledgement/<id>`, `silence/<name>` or `silence/<name>/<source>`",
        "alarm",
    ),
    "audit": TopicUse(
        "Operations on dead letters, model versions, learning and alarms: author, reason, counts.",
        ("learn", "monitor", "replayer", "model-admin", "alarm-admin"),
        ("model-admin", "consumers"),
        "id of the operation",
        "audit",
    ),
    "replays": TopicUse(
        "Operations on dead letters, and the progress of each replay.",
        ("replayer",),
        ("replayer",),
        "`operation/<id>`, `offsets/<id>/<topic>/<partition>` or `progress/<id>`",
    ),
    "learn.state": TopicUse(
        "Location of the learner's checkpoint.",
        ("learn",),
        ("learn", "model-admin"),
        "`checkpoint`",
    ),
    "monitor.state": TopicUse("Counts of the monitor.", ("monitor",), ("monitor",), "`state`"),
    "ingest.state": TopicUse(
        "Counts and next offset of each partition of the sources and of the replayed records, and "
        "the sources' watermarks.",
        ("ingest",),
        ("ingest", "replayer"),
        "`<topic>/<partition>`",
    ),
}

ROLE_INPUTS: dict[str, tuple[TopicKind, ...]] = {
    "score": ("raw", "labels", "raw.replay"),
    "learn": ("examples",),
    "monitor": ("watermarks", "scored", "examples"),
    "ingest": ("ingest.replay",),
}
"""Topic kinds that the workers of each role consume, by role."""

PAUSE_KINDS: frozenset[TopicKind] = frozenset({"examples", "models", "audit"})
"""Topic kinds that the monitor writes to pause learning from a source, if the pipeline declares
`Alarms(action="pause")`."""

SOURCE_ROLES = frozenset({"ingest"})
"""Roles that consume the topics of the sources as well; without sources they have nothing to do."""


def group_name(pipeline: str, role: str) -> str:
    """Return the name of the consumer group of a worker role.

    The name of a pipeline has no dot, so no name that begins with `<pipeline>.` belongs to another
    pipeline.

    >>> group_name("flights", "score")
    'flights.score'
    """
    return f"{pipeline}.{role}"


def member_name(pipeline: str, user: str, member: str | int) -> str:
    """Return a transactional id, or the static group id of a worker.

    Args:
        user: worker role, "replayer", "model-admin" or "alarm-admin".
        member: partition of a worker's task, instance of a worker, or use by a command.

    >>> member_name("flights", "score", 0)
    'flights.score.0'
    """
    return f"{pipeline}.{user}.{member}"
