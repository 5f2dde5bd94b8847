"""What each kind of topic carries, who writes it and who reads it; names and settings are in `stream_app.kafka.topics`."""

from typing import NamedTuple

from stream_app.topic_kinds import TopicKind


class TopicUse(NamedTuple):
    """What one kind of topic is for.

    `writers` and `readers` are roles of workers, "replayer" for the commands that deal with dead letters, "modeller"
    for those that decide about model versions and learning, or "producers" and "consumers" for programs of your own; a
    role that both reads and writes a `.state` topic keeps its own state there. `schema` is the stem of a file in the
    schema folder, the pipeline's field that declares the schema, or empty where only the program itself reads the
    records.
    """

    content: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    key: str
    schema: str = ""


USES: dict[TopicKind, TopicUse] = {
    "raw": TopicUse(
        "Events to be scored.",
        ("producers", "replayer"),
        ("score", "replayer"),
        "text of the key field",
        "Pipeline.schema",
    ),
    "labels": TopicUse(
        "What came true about events.",
        ("producers", "replayer"),
        ("score", "replayer"),
        "that of the event",
        "Label.schema",
    ),
    "raw.replay": TopicUse(
        "Events that were dead letters and are to be scored again.",
        ("replayer",),
        ("score", "replayer"),
        "that of the event",
        "Pipeline.schema",
    ),
    "scored": TopicUse(
        "Predictions.",
        ("score",),
        ("monitor", "replayer", "consumers"),
        "that of the event",
        "scored",
    ),
    "raw.dlq": TopicUse(
        "Events that cannot be scored: bytes untouched, reasons in the headers.",
        ("score",),
        ("replayer", "consumers"),
        "that of the event",
        "Pipeline.schema",
    ),
    "labels.dlq": TopicUse(
        "Labels that cannot be joined, likewise.",
        ("score",),
        ("replayer", "consumers"),
        "that of the label",
        "Label.schema",
    ),
    "score.state": TopicUse(
        "Changelog of a partition: predictions that wait for labels, events to be recognised, labels that wait, books.",
        ("score",),
        ("score", "replayer"),
        "event id, or `t` for the books",
    ),
    "examples": TopicUse(
        "Predictions with their labels, in the order in which they are learned, and the decisions about learning.",
        ("score", "learn", "modeller"),
        ("learn", "monitor", "modeller", "consumers"),
        "event id, or `control`",
        "example",
    ),
    "models": TopicUse(
        "Model versions, the aliases that say which one is served, and what is pinned or held.",
        ("learn", "modeller"),
        ("learn", "score", "replayer", "modeller", "consumers"),
        "`version/<n>`, `alias/champion`, `alias/requested`, `pin/<n>` or `learning`",
        "manifest",
    ),
    "monitoring": TopicUse(
        "Measurements, alarms and corrective actions.",
        ("score", "learn", "monitor"),
        ("consumers",),
        "kind/name",
        "monitoring",
    ),
    "audit": TopicUse(
        "What was done about dead letters, model versions and learning: who, what, why, how many.",
        ("learn", "replayer", "modeller"),
        ("modeller", "consumers"),
        "act",
        "audit",
    ),
    "replays": TopicUse(
        "What has been decided about dead letters, and how far each replay is.",
        ("replayer",),
        ("replayer",),
        "`act/<id>`, `letters/<id>/<topic>/<partition>` or `progress/<id>`",
    ),
    "learn.state": TopicUse(
        "Where the learner's checkpoint is.", ("learn",), ("learn", "modeller"), "`checkpoint`"
    ),
    "monitor.state": TopicUse(
        "What the monitor has counted.", ("monitor",), ("monitor",), "`state`"
    ),
}
"""By kind."""

ROLE_INPUTS: dict[str, tuple[TopicKind, ...]] = {
    "score": ("raw", "labels", "raw.replay"),
    "learn": ("examples",),
    "monitor": ("scored", "examples"),
}
"""Topic kinds that the workers of each role consume, by role."""


def group_name(pipeline: str, role: str) -> str:
    """Return the name of the consumer group of a role.

    >>> group_name("flights", "score")
    'flights-score'
    """
    return f"{pipeline}-{role}"
