"""Tests the limits of checks: disks, versions, brokers, topics, keys, record counts."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from stream_app.core.monitoring.partition_watermark import PartitionWatermark
from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.event_clock import EventClock
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.doctor.cluster_checks import evaluate_broker
from stream_app.doctor.context import CheckResult
from stream_app.doctor.machine_checks import (
    PROBLEM_BYTES,
    WARNING_BYTES,
    compare_versions,
    evaluate_disk,
)
from stream_app.doctor.topic_checks import (
    KeyedRecord,
    Replication,
    evaluate_keys,
    evaluate_replication,
    evaluate_topic,
)
from stream_app.doctor.watermark_checks import evaluate_watermarks
from stream_app.doctor.worker_checks import (
    evaluate_balance,
    evaluate_clocks,
    evaluate_format,
    evaluate_outcomes,
    evaluate_state,
)
from stream_app.kafka.partitioner import java_partition
from stream_app.kafka.topics import TopicSpec, topic_specs
from stream_app.settings import Settings
from stream_app.status.record_counts_reading import PartitionCounts
from stream_app.status.window_status import WrittenWatermark


def levels(results: Any) -> list[str]:
    return [result.level for result in results]


@pytest.mark.parametrize(
    ("free", "level"),
    [
        (WARNING_BYTES, "ok"),
        (WARNING_BYTES - 1, "warning"),
        (PROBLEM_BYTES - 1, "problem"),
        (0, "problem"),
    ],
)
def test_a_nearly_full_disk_is_a_warning_or_a_problem(free: int, level: str) -> None:
    assert evaluate_disk("disk", free, 10**12).level == level


def test_a_package_that_differs_from_its_pin_is_a_problem() -> None:
    installed = {"confluent-kafka": "2.10.0", "river": "0.26.1"}
    newer, missing = compare_versions(
        [("confluent-kafka", "2.9.0"), ("river", "0.26.1"), ("aiokafka", "0.14.0")], installed.get
    )
    assert newer == CheckResult(
        "problem",
        "confluent-kafka 2.10.0 instead of 2.9.0: "
        "its librdkafka may block for ever when a broker leaves",
        "pip install confluent-kafka==2.9.0",
    )
    assert missing.message == "aiokafka is missing, instead of 0.14.0"
    assert levels(compare_versions([("river", "0.26.1")], installed.get)) == ["ok"]


def test_a_low_transaction_timeout_or_replication_is_reported() -> None:
    assert levels(evaluate_broker({}, 1, 10.0)) == []
    (short,) = evaluate_broker({"transaction.max.timeout.ms": "5000"}, 1, 10.0)
    assert "STREAM_APP_WORKER__TRANSACTION_TIMEOUT_SECONDS to 5 or less" in short.remedy
    one = {"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "3"}
    assert levels(evaluate_broker(one, 3, 10.0)) == ["warning"]
    assert levels(evaluate_broker(one, 1, 10.0)) == ["problem"]


@pytest.mark.parametrize(
    ("brokers", "copies", "in_sync", "needed", "leaderless", "expected"),
    [
        (1, 1, 1, 1, 0, []),
        (3, 3, 3, 2, 0, []),
        (3, 1, 1, 1, 0, ["warning"]),
        (3, 3, 3, 1, 0, ["warning"]),
        (3, 2, 2, 2, 0, ["warning"]),
        (3, 3, 2, 2, 0, ["warning"]),
        (3, 3, 1, 2, 0, ["problem"]),
        (1, 1, 1, 2, 0, ["problem"]),
        (3, 3, 2, 2, 1, ["problem", "warning"]),
    ],
)
def test_replication_that_does_not_survive_a_broker_is_reported(
    brokers: int, copies: int, in_sync: int, needed: int, leaderless: int, expected: list[str]
) -> None:
    replication = Replication(brokers, copies, in_sync, needed, leaderless)
    assert levels(evaluate_replication("p.raw", replication)) == expected


def spec(kind: str) -> TopicSpec:
    return next(spec for spec in topic_specs("p", Settings(data_dir=Path())) if spec.kind == kind)


@pytest.mark.parametrize(
    ("kind", "changed", "level"),
    [
        ("score.state", {"cleanup.policy": "compact,delete"}, "problem"),
        ("raw", {"cleanup.policy": "compact"}, "problem"),
        ("examples", {"retention.ms": "1000"}, "problem"),
        ("examples", {"retention.bytes": "1000000"}, "problem"),
        ("audit", {"retention.ms": "604800000"}, "problem"),
        ("audit", {}, None),
        ("raw", {"retention.ms": "1000"}, "warning"),
        ("raw", {"retention.ms": "-1"}, "warning"),
        ("raw", {"retention.bytes": "1000000"}, "warning"),
        ("raw.dlq", {"max.message.bytes": "1048576"}, "problem"),
        ("raw.dlq", {"max.message.bytes": "9000000"}, None),
        ("scored", {"message.timestamp.type": "LogAppendTime"}, "warning"),
        ("models", {}, None),
    ],
)
def test_a_changed_topic_setting_is_reported(
    kind: str, changed: dict[str, str], level: str | None
) -> None:
    wanted = spec(kind)
    found = list(evaluate_topic(wanted, {**wanted.config, "retention.bytes": "-1"} | changed))
    assert levels(found) == ([level] if level else [])
    assert all(f"p.{kind}" in result.message and result.remedy for result in found)


def test_murmur2_equals_the_java_implementation() -> None:
    """The expected values are those of Kafka's own tests, signed."""
    expected = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {key: murmur2(key) for key in expected} == {
        key: value % 2**32 for key, value in expected.items()
    }


def test_every_key_is_correct_in_a_single_partition() -> None:
    (found,) = evaluate_keys("p.raw", [KeyedRecord(b"a", 0), KeyedRecord(b"b", 0)], 1)
    assert (found.level, found.message) == (
        "ok",
        "p.raw: has one partition, so every partitioner puts keys there",
    )


def test_keys_in_partitions_of_an_unknown_partitioner_are_a_problem() -> None:
    wrong = [
        KeyedRecord(key, (java_partition(key, 4) + 1) % 4)
        for key in (b"%d" % number for number in range(40))
    ]
    (found,) = evaluate_keys("p.raw", wrong, 4)
    assert found.level == "problem"
    assert "no other known partitioner explains it either" in found.message


def test_keys_that_are_where_fewer_partitions_had_them_are_explained_by_added_ones() -> None:
    keys = [b"key-%d" % number for number in range(100)]
    (found,) = evaluate_keys("p.raw", [KeyedRecord(key, java_partition(key, 4)) for key in keys], 6)
    assert found.level == "problem"
    assert "when it had 4 partitions: partitions were added" in found.message
    assert found.remedy.endswith("under a new name with STREAM_APP_TOPICS__PARTITIONS=6")
    (constant,) = evaluate_keys("p.raw", [KeyedRecord(key, 0) for key in keys], 6)
    assert "no other known partitioner explains it either" in constant.message


def counts(
    partition: int = 0, clock: int = 0, entries: int | None = None, **values: Any
) -> PartitionCounts:
    event_clock = EventClock(0)
    event_clock.time = clock
    return PartitionCounts(
        partition, RecordCounts(**values), event_clock, NEVER, {"p.raw": 10**6}, entries, {}
    )


def test_contradicting_record_counts_are_a_problem() -> None:
    assert levels(evaluate_balance({0: counts(scored=2, pending=2)})) == []
    assert levels(evaluate_balance({0: counts(scored=2, pending=1)})) == ["problem"]
    assert levels(evaluate_balance({0: counts(scored=10**6 + 1, pending=10**6 + 1)})) == ["problem"]


def test_a_state_that_scorers_cannot_read_is_a_problem() -> None:
    assert levels(evaluate_format({0: counts()}, keyed=False)) == []
    (found,) = evaluate_format({3: counts()._replace(state_format=1)}, keyed=False)
    assert found.level == "problem"
    assert "partition 3 has format 1, and this version reads format 6" in found.message


def test_a_state_of_another_key_is_a_problem() -> None:
    assert levels(evaluate_format({0: counts()._replace(keyed=True)}, keyed=True)) == []
    (found,) = evaluate_format({3: counts()._replace(keyed=True)}, keyed=False)
    assert found.level == "problem"
    assert found.message == (
        "the state of partition 3 was written with another key of the pipeline: its key was not "
        "the event id, and is now: scorers end with exit code 9"
    )


def test_a_nearly_full_state_is_a_warning() -> None:
    assert levels(evaluate_state({0: counts(entries=799), 1: counts(entries=None)}, 1000)) == []
    assert levels(evaluate_state({0: counts(entries=800)}, 1000)) == ["warning"]


def test_many_labels_without_event_or_late_events_are_a_warning() -> None:
    assert (
        levels(evaluate_outcomes({0: counts(joined=90, label_dead=Counter({"unknown-event": 4}))}))
        == []
    )
    assert levels(
        evaluate_outcomes({0: counts(joined=90, label_dead=Counter({"unknown-event": 10}))})
    ) == ["warning"]
    assert (
        levels(evaluate_outcomes({0: counts(joined=9, label_dead=Counter({"unknown-event": 10}))}))
        == []
    )
    assert levels(
        evaluate_outcomes({0: counts(joined=90, label_dead=Counter({"label-too-late": 10}))})
    ) == ["warning"]
    assert levels(
        evaluate_outcomes({0: counts(scored=90, dead=Counter({"event-too-late": 10}))})
    ) == ["warning"]


def test_a_partition_whose_event_time_lags_is_a_warning() -> None:
    day = 86_400_000
    assert levels(evaluate_clocks({0: counts(0, day), 1: counts(1, 2 * day)}, day)) == []
    (found,) = evaluate_clocks({0: counts(0, day, pending=7), 1: counts(1, 2 * day + 1)}, day)
    assert "partition 0 stands at 1970-01-02T00:00" in found.message
    assert "7 wait" in found.message


def test_a_partition_without_a_present_watermark_is_a_warning() -> None:
    minute, watermark = 60_000, PartitionWatermark(0, NEVER, NEVER, 0, 0)
    known = {0: WrittenWatermark(minute, watermark), 1: None}
    (missing,) = evaluate_watermarks(known, 16 * minute, running=True)
    assert missing.message.startswith("partition 1 has no watermark")
    old, _ = evaluate_watermarks(known, 22 * minute, running=True)
    assert old.message.startswith("the watermark of partition 0 is 21 min old")
    assert levels(evaluate_watermarks(known, 22 * minute, running=False)) == ["warning"]
    del known[1]
    assert levels(evaluate_watermarks(known, 22 * minute, running=False)) == []
