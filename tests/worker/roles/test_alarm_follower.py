"""The metric of open alarms is a function of the topic and of the time."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from stream_app.core.alarms.alarm_log import Acknowledgement, Silence, end_of_silence
from stream_app.core.alarms.alarm_record import AlarmRecord
from stream_app.errors import KafkaUnavailableError
from stream_app.records import InputPartition, Output, Record
from stream_app.telemetry.metrics import ALARMS_OPEN, clear_partition_metrics
from stream_app.worker.roles.alarm_follower import AlarmFollower

TOPIC = InputPartition("p.alarms", 0)
OPENED = 1_772_344_800_000
ALARM = AlarmRecord("event-volume", "events", OPENED, OPENED, OPENED, None, 2.0, 1, "few")


class TopicInMemory:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.is_down = False

    def write(self, *outputs: Output) -> None:
        for one in outputs:
            self.records.append(
                Record(TOPIC.topic, 0, len(self.records), 0, one.key, one.value, ())
            )

    def ends(self, source: InputPartition) -> tuple[int, int]:
        assert source == TOPIC
        if self.is_down:
            raise KafkaUnavailableError("down", "wait")
        return 0, len(self.records)

    def read_range(self, topic: str, partition: int, start: int, end: int) -> list[Record]:
        assert start < end
        return self.records[start:end]


@pytest.fixture
def topic() -> Iterator[TopicInMemory]:
    yield TopicInMemory()
    ALARMS_OPEN.clear()


def states(name: str = "event-volume", source: str = "events") -> list[str]:
    """Return the states that are exported as 1."""
    return [
        state
        for state in ("open", "acknowledged", "silenced")
        if REGISTRY.get_sample_value(
            "stream_app_alarms_open", {"name": name, "source": source, "state": state}
        )
    ]


def test_the_metric_follows_alarms_acknowledgements_and_silences(topic: TopicInMemory) -> None:
    now = 1_000
    follower = AlarmFollower(topic, TOPIC.topic, lambda: now)
    silence = Silence("event-volume", None, 2_000, "", "ann", "a strike")
    acknowledgement = Acknowledgement(ALARM.id, "", "ann", "asked")

    def after(*outputs: Output) -> list[str]:
        topic.write(*outputs)
        follower.follow()
        return states()

    assert after() == []
    assert after(ALARM.output("p")) == ["open"]
    assert after(silence.output()) == ["silenced"]
    now = 2_000
    assert after() == ["open"]
    assert after(silence._replace(until=9_000).output()) == ["silenced"]
    assert after(end_of_silence(silence)) == ["open"]
    assert after(acknowledgement.output()) == ["acknowledged"]
    # Another assignment of the worker.
    clear_partition_metrics()
    assert after(ALARM._replace(n=2).output("p")) == ["acknowledged"]
    assert after(ALARM._replace(closed_at=OPENED + 1).output("p")) == []
    assert after(ALARM._replace(opened_at=OPENED + 10**9).output("p")) == ["open"]


def test_an_outage_and_a_recreated_topic(topic: TopicInMemory) -> None:
    now = 1_000
    follower = AlarmFollower(topic, TOPIC.topic, lambda: now)
    topic.write(
        Silence("event-volume", "events", 2_000, "", "ann", "x").output(), ALARM.output("p")
    )
    follower.follow()
    assert states() == ["silenced"]
    topic.is_down, now = True, 3_000
    follower.follow()
    # The silence has ended meanwhile.
    assert states() == ["open"]
    topic.is_down, topic.records = False, []
    follower.follow()
    assert states() == []
