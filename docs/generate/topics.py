"""`topics.md`: every topic of a pipeline."""

from collections.abc import Mapping

from docs.generate.markdown import code, table
from stream_app.kafka.topic_uses import USES
from stream_app.kafka.topics import TopicSpec, topic_specs
from stream_app.settings import Settings, TopicSettings
from stream_app.topic_kinds import PARTITIONED

_INTRODUCTION = """# Topics

Names begin with the pipeline's name, here `<p>`. `stream-app topics create` creates missing topics;
`stream-app topics show` shows their configuration. *Producers* and *consumers* are your own
programs, the *replayer* is [`stream-app dead-letters`](../dead-letters.md); the others are
[roles](../architecture.md).
"""

_CONFIGURATION = """## Configuration

Values for the default [settings](settings.md#topics). Topics with several partitions have the same
number of them, because partition *n* of each belongs to the same task; the number cannot be changed
later. Record timestamps are wall-clock time, so retention starts when a record is written, not at
its event time.
"""

_RETENTION = """## Retention

`examples` and `audit` are kept for ever, whatever `STREAM_APP_TOPICS__RETENTION_HOURS` says; only
[`reset`](../operations.md#delete-or-reset-a-pipeline) deletes them. `stream-app doctor` compares
the settings of every topic on the cluster with this table.

In the other topics, retention may delete records that all readers have read. The compacted topics
are state: without
`score.state` duplicates are not recognised and labels find no prediction; without `replays` the
handled dead letters are unknown; without `models` and `learn.state` the learner needs all of
`examples`. [Operations](../operations.md#backups) lists what to back up.
"""

_DAY_MS = 24 * 60 * 60 * 1000


def page() -> str:
    """Returns the page: the use of the topics, then their configuration."""
    # The defaults, independent of the environment.
    settings = Settings.model_construct(topics=TopicSettings())
    specs = topic_specs("<p>", settings)
    return "\n".join(
        [
            _INTRODUCTION,
            _uses(specs),
            _CONFIGURATION,
            _configurations(specs, settings.topics),
            _RETENTION,
        ]
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
    return table(["topic", "content", "written by", "read by", "key", "value"], rows)


def _schema(name: str) -> str:
    """Returns a link to the schema's description, on the pipeline's page if that declares it."""
    if not name:
        return "internal"
    if "." in name:
        return f"[{code(name)}](pipeline.md#{name.split('.')[0].lower()})"
    return f"[{code(name)}](schemas.md#{name})"


def _configurations(specs: tuple[TopicSpec, ...], topics: TopicSettings) -> str:
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
    return "forever" if int(milliseconds) < 0 else f"{int(milliseconds) // _DAY_MS} days"
