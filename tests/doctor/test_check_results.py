"""What is decided from figures: disks, versions, brokers, topics, keys, books."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.doctor.cluster_checks import judge_broker
from stream_app.doctor.machine_checks import (
    PROBLEM_BYTES,
    WARNING_BYTES,
    compare_versions,
    judge_disk,
)
from stream_app.doctor.producer_checks import Keyed, judge_keys
from stream_app.doctor.record_count_checks import (
    judge_books,
    judge_clocks,
    judge_outcomes,
    judge_state,
)
from stream_app.doctor.results import CheckResult
from stream_app.doctor.topic_checks import judge_replication, judge_topic
from stream_app.kafka.partitioner import java_partition, murmur2
from stream_app.kafka.topics import TopicSpec, topic_specs
from stream_app.settings import Settings
from stream_app.status.record_counts_reading import PartitionCounts


def levels(findings: Any) -> list[str]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("free", "level"),
    [
        (WARNING_BYTES, "ok"),
        (WARNING_BYTES - 1, "warning"),
        (PROBLEM_BYTES - 1, "problem"),
        (0, "problem"),
    ],
)
def test_a_disk_is_judged_by_what_is_left(free: int, level: str) -> None:
    assert judge_disk("disk", free, 10**12).level == level


def test_a_package_that_differs_from_its_pin_is_named() -> None:
    installed = {"confluent-kafka": "2.10.0", "river": "0.26.1"}
    newer, missing = compare_versions(
        [("confluent-kafka", "2.9.0"), ("river", "0.26.1"), ("aiokafka", "0.14.0")], installed.get
    )
    assert newer == CheckResult(
        "problem",
        "confluent-kafka 2.10.0 instead of 2.9.0: its librdkafka may block for ever when a broker leaves",
        "pip install confluent-kafka==2.9.0",
    )
    assert missing.message == "aiokafka is missing, instead of 0.14.0"
    assert levels(compare_versions([("river", "0.26.1")], installed.get)) == ["ok"]


def test_brokers_whose_limits_do_not_suit() -> None:
    assert levels(judge_broker({}, 1, 10.0)) == []
    (short,) = judge_broker({"transaction.max.timeout.ms": "5000"}, 1, 10.0)
    assert "STREAM_APP_WORKER__TRANSACTION_TIMEOUT_SECONDS to 5 or less" in short.remedy
    one = {"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "3"}
    assert levels(judge_broker(one, 3, 10.0)) == ["warning"]
    assert levels(judge_broker(one, 1, 10.0)) == ["problem"]


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
def test_replication(
    brokers: int, copies: int, in_sync: int, needed: int, leaderless: int, expected: list[str]
) -> None:
    found = judge_replication(
        "p.raw",
        brokers=brokers,
        copies=copies,
        in_sync=in_sync,
        needed=needed,
        leaderless=leaderless,
    )
    assert levels(found) == expected


def spec(kind: str) -> TopicSpec:
    return next(spec for spec in topic_specs("p", Settings(data_dir=Path())) if spec.kind == kind)


@pytest.mark.parametrize(
    ("kind", "changed", "level"),
    [
        ("score.state", {"cleanup.policy": "compact,delete"}, "problem"),
        ("raw", {"cleanup.policy": "compact"}, "problem"),
        ("examples", {"retention.ms": "1000"}, "problem"),
        ("raw", {"retention.ms": "1000"}, "warning"),
        ("raw", {"retention.ms": "-1"}, "warning"),
        ("raw", {"retention.bytes": "1000000"}, "warning"),
        ("raw.dlq", {"max.message.bytes": "1048576"}, "problem"),
        ("raw.dlq", {"max.message.bytes": "9000000"}, None),
        ("scored", {"message.timestamp.type": "LogAppendTime"}, "warning"),
        ("models", {}, None),
    ],
)
def test_a_topic_that_was_changed_by_hand(
    kind: str, changed: dict[str, str], level: str | None
) -> None:
    wanted = spec(kind)
    found = list(judge_topic(wanted, {**wanted.config, "retention.bytes": "-1"} | changed))
    assert levels(found) == ([level] if level else [])
    assert all(f"p.{kind}" in finding.message and finding.remedy for finding in found)


def test_murmur2_is_that_of_java() -> None:
    """The values of Kafka's own tests, as signed numbers."""
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


def test_one_partition_takes_every_key() -> None:
    (found,) = judge_keys("p.raw", [Keyed(b"a", 0), Keyed(b"b", 0)], 1)
    assert (found.level, found.message) == (
        "ok",
        "p.raw: has one partition, so keys cannot go astray",
    )


def test_keys_that_no_known_partitioner_explains() -> None:
    wrong = [
        Keyed(key, (java_partition(key, 4) + 1) % 4)
        for key in (b"%d" % number for number in range(40))
    ]
    (found,) = judge_keys("p.raw", wrong, 4)
    assert found.level == "problem"
    assert "and not where librdkafka's does" in found.message


def sheet(
    partition: int = 0, clock: int = 0, entries: int | None = None, **tallies: Any
) -> PartitionCounts:
    return PartitionCounts(
        partition, RecordCounts(**tallies), clock, clock, clock, {"p.raw": 10**6}, entries
    )


def test_books_that_cannot_be() -> None:
    assert levels(judge_books({0: sheet(scored=2, pending=2)})) == []
    assert levels(judge_books({0: sheet(scored=2, pending=1)})) == ["problem"]
    assert levels(judge_books({0: sheet(scored=10**6 + 1, pending=10**6 + 1)})) == ["problem"]


def test_a_state_that_fills_up() -> None:
    assert levels(judge_state({0: sheet(entries=799), 1: sheet(entries=None)}, 1000)) == []
    assert levels(judge_state({0: sheet(entries=800)}, 1000)) == ["warning"]


def test_labels_that_never_meet_their_event() -> None:
    assert (
        levels(judge_outcomes({0: sheet(joined=90, label_dead=Counter({"unknown-event": 4}))}))
        == []
    )
    assert levels(
        judge_outcomes({0: sheet(joined=90, label_dead=Counter({"unknown-event": 10}))})
    ) == ["warning"]
    assert (
        levels(judge_outcomes({0: sheet(joined=9, label_dead=Counter({"unknown-event": 10}))}))
        == []
    )
    assert levels(judge_outcomes({0: sheet(scored=90, dead=Counter({"event-too-late": 10}))})) == [
        "warning"
    ]


def test_event_time_that_stands_still_in_one_partition() -> None:
    day = 86_400_000
    assert levels(judge_clocks({0: sheet(0, day), 1: sheet(1, 2 * day)}, day)) == []
    (found,) = judge_clocks({0: sheet(0, day, pending=7), 1: sheet(1, 2 * day + 1)}, day)
    assert "partition 0 stands at 1970-01-02T00:00" in found.message
    assert "7 wait" in found.message
