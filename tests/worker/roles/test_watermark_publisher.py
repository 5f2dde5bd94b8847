"""A scorer publishes the watermark of its partition after the transaction that has reached it."""

from typing import Any

import pytest

from stream_app.core.monitoring.log_alignment import STEP_MS
from stream_app.core.monitoring.partition_watermark import PartitionWatermark, decode_watermark
from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.records import Output
from stream_app.worker.roles.watermark_publisher import (
    IDLE_MS,
    PUBLISH_MS,
    REPEAT_MS,
    WatermarkPublisher,
)
from tests.small_pipeline import HOUR, NOW

T0 = NOW - NOW % STEP_MS


class PublishingPartition:
    """Partition 3, whose owner continued at offset 10 of scored records, 5 of examples."""

    def __init__(self, idle_after: int = 24 * HOUR) -> None:
        self.state = PartitionState(3, HOUR, HOUR, idle_after=idle_after)
        self.publisher = WatermarkPublisher(self.state)
        self.publisher.start(10, 5)

    def reach(self, time: int) -> None:
        for clock in (self.state.clock.events, self.state.clock.labels):
            clock.promise(time)
        self.state.advance(NOW)


def published(outputs: list[Output]) -> PartitionWatermark | None:
    if not outputs:
        return None
    (one,) = outputs
    assert (one.topic, one.partition, one.key) == ("watermarks", 0, b"3")
    return decode_watermark(one.value)


def test_nothing_is_published_before_the_state_is_restored() -> None:
    publisher = WatermarkPublisher(PartitionState(3, HOUR, HOUR))
    publisher.committed({("scored", 3): 7})
    assert publisher.due(NOW) == publisher.idle(NOW) == []


def test_a_new_owner_says_that_its_watermark_holds_from_the_end_of_the_logs() -> None:
    partition = PublishingPartition()
    found = published(partition.publisher.due(NOW))
    assert found == PartitionWatermark(3, NEVER, NEVER, 10, 5)


def test_a_watermark_is_published_in_the_transaction_after_its_own() -> None:
    partition = PublishingPartition()
    partition.publisher.due(NOW)
    partition.reach(T0)
    # The transaction that reaches it.
    assert partition.publisher.due(NOW + PUBLISH_MS) == []
    partition.publisher.committed({("scored", 3): 19, ("scored", 1): 99, ("examples", 0): 44})
    found = published(partition.publisher.due(NOW + 2 * PUBLISH_MS))
    assert found == PartitionWatermark(3, T0, T0, 20, 45)


def test_while_idle_it_needs_no_further_transaction() -> None:
    partition = PublishingPartition()
    partition.publisher.due(NOW)
    partition.publisher.committed({("scored", 3): 19})
    assert partition.publisher.idle(NOW + PUBLISH_MS - 1) == []
    found = published(partition.publisher.idle(NOW + PUBLISH_MS))
    assert found == PartitionWatermark(3, NEVER, NEVER, 20, 5)
    assert partition.publisher.idle(NOW + 2 * PUBLISH_MS) == []


def test_offsets_never_go_back() -> None:
    partition = PublishingPartition()
    # Of another subtask of the same producer, in an earlier assignment.
    partition.publisher.committed({("scored", 3): 2, ("examples", 0): 1})
    found = published(partition.publisher.due(NOW))
    assert found is not None
    assert (found.scored, found.examples) == (10, 5)


def test_the_same_watermark_is_published_again_now_and_then() -> None:
    partition = PublishingPartition()
    partition.reach(T0)
    first = published(partition.publisher.idle(NOW))
    # It counts to the step.
    partition.reach(T0 + STEP_MS - 1)
    assert partition.publisher.idle(NOW + REPEAT_MS - 1) == []
    again = published(partition.publisher.idle(NOW + REPEAT_MS))
    assert first is not None
    assert again == first._replace(events=T0 + STEP_MS - 1, clock=T0 + STEP_MS - 1)
    partition.reach(T0 + STEP_MS)
    assert published(partition.publisher.idle(NOW + REPEAT_MS + PUBLISH_MS)) is not None


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    partition = PublishingPartition()
    partition.publisher.due(NOW)
    partition.publisher.committed({("scored", 3): 19})
    assert partition.publisher.due(NOW - HOUR) != []


@pytest.mark.parametrize(("idle_after", "limit"), [(24 * HOUR, IDLE_MS), (HOUR // 2, HOUR // 2)])
def test_a_partition_without_events_is_idle_after_an_hour(idle_after: int, limit: int) -> None:
    partition = PublishingPartition(idle_after)
    clock = partition.state.clock

    def idle(until: int) -> Any:
        for now in range(NOW, NOW + until + 1, 10_000):
            clock.events.look(now, True)
        found = published(partition.publisher.idle(NOW + until))
        return None if found is None else found.idle

    assert idle(limit - 10_000) is False
    clock.events.received()
    assert idle(limit) is True
    clock.events.received()
    assert idle(PUBLISH_MS * 10) is False


def test_idle_events_are_where_the_clock_is() -> None:
    partition = PublishingPartition(HOUR)
    clock = partition.state.clock
    clock.events.promise(T0)
    clock.labels.promise(T0 + 2 * HOUR)
    clock.events.idle_ms = HOUR
    partition.state.advance(NOW)
    found = published(partition.publisher.idle(NOW))
    assert found == PartitionWatermark(3, T0 + 2 * HOUR, T0 + 2 * HOUR, 10, 5, idle=True)
