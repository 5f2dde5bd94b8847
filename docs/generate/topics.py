"""`topics.md`: every topic of a pipeline."""

from collections.abc import Mapping

from docs.generate.markdown import code, table
from stream_app.kafka.topic_uses import USES
from stream_app.kafka.topics import TopicSpec, topic_specs
from stream_app.settings import Settings, TopicSettings
from stream_app.topic_kinds import PARTITIONED

_INTRODUCTION = """# Topics

Names begin with the pipeline's, here `<p>`. `stream-app topics create` makes the topics that are missing,
`stream-app topics show` tells how they are. *Producers* and *consumers* are programs of your own, the *replayer* is
[`stream-app dead-letters`](../dead-letters.md); the others are [roles](../architecture.md).
"""

_MAKING = """## How they are made

With the [settings](settings.md#topics) at their defaults. Topics with several partitions have the same number of them,
for partition *n* of each belongs to the same task; the number cannot be changed later. Timestamps of records are wall
clock, so retention counts from when a record was written, not from its event time.
"""

_RETENTION = """## What may be deleted, and what not

Retention may delete whatever all readers have read. The compacted topics are state: without `score.state` duplicates
are not recognised and labels find no prediction, without `replays` nobody knows which dead letters have been dealt
with, without `models` and `learn.state` the learner needs all of
`examples`. [Operations](../operations.md#backups) says what to keep.
"""

_DAY_MS = 24 * 60 * 60 * 1000


def page() -> str:
    """What the topics are for, then how they are made."""
    settings = Settings.model_construct(
        topics=TopicSettings()
    )  # the defaults, whatever the environment says
    specs = topic_specs("<p>", settings)
    return "\n".join(
        [_INTRODUCTION, _uses(specs), _MAKING, _made(specs, settings.topics), _RETENTION]
    )


def _uses(specs: tuple[TopicSpec, ...]) -> str:
    rows = []
    for spec in specs:
        use = USES[spec.kind]
        rows.append(
            [
                code(spec.name),
                use.content,
                ", ".join(use.writers),
                ", ".join(use.readers),
                use.key,
                _schema(use.schema),
            ]
        )
    return table(["topic", "carries", "written by", "read by", "key", "value"], rows)


def _schema(name: str) -> str:
    """Where the schema is described: on the page of the pipeline if that declares it."""
    if not name:
        return "internal"
    if "." in name:
        return f"[{code(name)}](pipeline.md#{name.split('.')[0].lower()})"
    return f"[{code(name)}](schemas.md#{name})"


def _made(specs: tuple[TopicSpec, ...], topics: TopicSettings) -> str:
    rows = [
        [
            code(spec.name),
            str(topics.partitions) if spec.kind in PARTITIONED else "always 1",
            spec.config["cleanup.policy"],
            _retention(spec.config),
            f"{int(spec.config['max.message.bytes']) // 1024:,} KiB",
        ]
        for spec in specs
    ]
    return table(["topic", "partitions", "clean-up", "retention", "largest record"], rows)


def _retention(config: Mapping[str, str]) -> str:
    milliseconds = config.get("retention.ms")
    if milliseconds is None:
        return "the newest of each key"
    return "for ever" if int(milliseconds) < 0 else f"{int(milliseconds) // _DAY_MS} days"
