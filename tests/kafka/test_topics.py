"""The topics of a pipeline, on a real broker."""

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.errors import TopicsError
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import (
    AddedPartitionsError,
    MissingTopicsError,
    check_added_partitions,
    check_topics,
    create_topics,
    describe_topics,
    topic_specs,
)
from stream_app.settings import KafkaSettings, Settings, TopicSettings
from stream_app.topic_kinds import KINDS, PARTITIONED, SOURCE_KINDS, TopicKind, topic_name
from tests.patience import PATIENCE
from tests.transfer.clusters import settings_for, unique_name

KIB = 1024


def test_state_examples_and_models_are_kept_as_they_must_be(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        topics=TopicSettings(partitions=3, retention_hours=2, max_message_bytes=KIB),
    )
    without = tuple(spec.kind for spec in topic_specs("p", settings))
    specs = {spec.kind: spec for spec in topic_specs("p", settings, with_sources=True)}
    assert tuple(specs) == KINDS
    assert without == tuple(kind for kind in KINDS if kind not in SOURCE_KINDS)
    partitioned = {kind for kind, spec in specs.items() if spec.partitions == 3}
    assert partitioned == {
        "raw",
        "labels",
        "raw.replay",
        "ingest.replay",
        "scored",
        "raw.dlq",
        "labels.dlq",
        "label_outcomes",
        "score.state",
    }
    assert {spec.partitions for kind, spec in specs.items() if kind not in partitioned} == {1}
    compacted = {kind for kind, spec in specs.items() if spec.config["cleanup.policy"] == "compact"}
    states = {"score.state", "learn.state", "monitor.state", "ingest.state"}
    assert compacted == {"models", "replays", "alarms"} | states
    for kept in ("examples", "audit"):
        assert specs[kept].config["retention.ms"] == "-1"
    for kind in ("scored", "label_outcomes"):
        assert specs[kind].config["retention.ms"] == str(2 * 3_600_000)
    larger = {
        kind for kind, spec in specs.items() if spec.config["max.message.bytes"] == str(65 * KIB)
    }
    dead_letters = {"raw.dlq", "labels.dlq"}
    replays = {"raw.replay", "ingest.replay", "replays"}
    assert larger == {"examples", "label_outcomes"} | dead_letters | replays | states


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"raw": 6}, "Partitions were added to p.raw (now 6): keys have moved"),
        ({"raw": 6, "labels": 5}, "Partitions were added to p.raw (now 6), p.labels (now 5): keys"),
    ],
)
def test_added_partitions_are_one_error_with_one_remedy(
    changed: dict[str, int], named: str
) -> None:
    counts = {topic_name("p", kind): changed.get(kind, 4) for kind in PARTITIONED}
    with pytest.raises(AddedPartitionsError) as caught:
        check_added_partitions("p", counts)
    assert caught.value.message.startswith(named)
    assert caught.value.remedy == (
        "Start the pipeline under a new name with STREAM_APP_TOPICS__PARTITIONS=6"
    )


@pytest.mark.parametrize("changed", [{}, {"labels": 3}, {"score.state": 6}, {"score.state": 0}])
def test_other_partition_counts_are_not_taken_for_added_ones(changed: dict[str, int]) -> None:
    counts = {topic_name("p", kind): changed.get(kind, 4) for kind in PARTITIONED}
    check_added_partitions("p", {name: count for name, count in counts.items() if count})


def test_retention_can_be_for_ever(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, topics=TopicSettings(retention_hours=-1))
    assert {spec.config.get("retention.ms", "-1") for spec in topic_specs("p", settings)} == {"-1"}


@pytest.fixture
def settings(broker: EmbeddedBroker) -> Settings:
    return settings_for(broker, partitions=2)


@pytest.fixture
def admin(settings: Settings) -> AdminClient:
    return make_admin(settings)


def create(admin: AdminClient, partitions: dict[str, int]) -> None:
    """Create topics past the code under test, and wait until the broker knows them."""
    new = [NewTopic(name, count, 1) for name, count in partitions.items()]
    for future in admin.create_topics(new).values():
        future.result(30)
    deadline = time.monotonic() + 30 * PATIENCE
    while not partitions.keys() <= admin.list_topics(timeout=60).topics.keys():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.broker
def test_creating_twice_changes_nothing(admin: AdminClient, settings: Settings) -> None:
    name = unique_name()
    own = [topic_name(name, kind) for kind in KINDS if kind not in SOURCE_KINDS]
    first = create_topics(admin, name, settings)
    assert {result.result for result in first} == {"created"}
    assert [result.name for result in first] == own
    assert {result.result for result in create_topics(admin, name, settings)} == {"exists"}
    assert check_topics(admin, name, settings) == 2
    with pytest.raises(MissingTopicsError, match=r"ingest\.state"):
        check_topics(admin, name, settings, with_sources=True)
    with_sources = create_topics(admin, name, settings, with_sources=True)
    created = [one.name for one in with_sources if one.result == "created"]
    assert created == [f"{name}.ingest.replay", f"{name}.ingest.state"]
    assert check_topics(admin, name, settings, with_sources=True) == 2


@pytest.mark.broker
def test_the_cluster_has_what_was_asked_for(admin: AdminClient, settings: Settings) -> None:
    name = unique_name()
    create_topics(admin, name, settings)
    specs = {spec.name: spec for spec in topic_specs(name, settings)}
    for topic in describe_topics(admin, name, settings):
        assert topic.partitions == specs[topic.name].partitions
        wanted = {
            key: value for key, value in specs[topic.name].config.items() if key in topic.config
        }
        assert wanted.items() <= topic.config.items()
        assert {"cleanup.policy", "max.message.bytes"} <= wanted.keys()


@pytest.mark.broker
def test_a_changed_partition_count_is_refused_before_anything_is_created(
    admin: AdminClient, settings: Settings
) -> None:
    name = unique_name()
    create(admin, {topic_name(name, "raw"): 2})
    more = settings.model_copy(update={"topics": TopicSettings(partitions=5)})
    with pytest.raises(
        TopicsError, match="has 2 partitions and the settings ask for 5: keys would move"
    ) as caught:
        create_topics(admin, name, more)
    assert "STREAM_APP_TOPICS__PARTITIONS=2" in caught.value.remedy
    assert [topic.kind for topic in describe_topics(admin, name, settings) if topic.exists] == [
        "raw"
    ]


@pytest.mark.broker
def test_missing_topics_are_named_with_the_remedy(admin: AdminClient, settings: Settings) -> None:
    name = unique_name()
    with pytest.raises(TopicsError, match=f"{name}.raw, {name}.labels") as caught:
        check_topics(admin, name, settings)
    assert "stream-app topics create" in caught.value.remedy


@pytest.mark.broker
@pytest.mark.parametrize(
    ("kind", "complaint"), [("labels", "Partitions were added"), ("examples", "exactly 1")]
)
def test_topics_of_another_shape_are_refused(
    admin: AdminClient, settings: Settings, kind: TopicKind, complaint: str
) -> None:
    name = unique_name()
    counts = {spec.name: spec.partitions for spec in topic_specs(name, settings)}
    create(admin, {**counts, topic_name(name, kind): 3})
    with pytest.raises(TopicsError, match=complaint):
        check_topics(admin, name, settings)


@pytest.mark.broker
def test_more_copies_than_brokers_is_an_error_of_the_topics(broker: EmbeddedBroker) -> None:
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    settings = Settings(kafka=kafka, topics=TopicSettings(replication=3))
    with pytest.raises(TopicsError, match="cannot be created"):
        create_topics(make_admin(settings), unique_name(), settings)
