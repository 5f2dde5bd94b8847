"""Outages are logged while they last, end once the blocker stays away, and are reported once."""

from time import monotonic

import pytest
from prometheus_client import REGISTRY

from stream_app.errors import FencedError, KafkaUnavailableError, TopicsError
from stream_app.worker import outages as outages_module
from stream_app.worker.outages import Blocker, OutageTracker


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now = monotonic()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outages_module, "monotonic", clock)
    return clock


def kafka_unavailable(clock: Clock) -> Blocker:
    return Blocker.of(KafkaUnavailableError("Kafka is away", "Wait"), clock.now)


def outage_metric() -> float | None:
    return REGISTRY.get_sample_value("stream_app_outage", {"cause": "kafka-unavailable"})


def test_each_error_has_a_cause(clock: Clock) -> None:
    causes = [
        Blocker.of(kind("", ""), 0.0).cause
        for kind in (KafkaUnavailableError, TopicsError, FencedError)
    ]
    assert causes == ["kafka-unavailable", "topic-missing", "fenced"]


def test_a_short_blocker_is_not_an_outage(clock: Clock) -> None:
    outages, blocker = OutageTracker(), kafka_unavailable(clock)
    clock.now += 1.9
    outages.update(blocker)
    assert (outages.blockers(), outage_metric()) == ([], 0)
    clock.now += 10
    outages.update(None)
    assert outages.claim() == []


def test_an_outage_lasts_until_its_blocker_stays_away_and_the_worker_is_stable(
    clock: Clock,
) -> None:
    outages, blocker = OutageTracker(), kafka_unavailable(clock)
    clock.now += 5
    outages.update(blocker)
    assert (outages.blockers(), outage_metric()) == (["outage: Kafka is away. Wait"], 1)
    outages.update(None)
    clock.now += 1.5
    outages.update(None)
    outages.update(blocker)
    clock.now += 1
    outages.update(None, stable=False)
    clock.now += 5
    outages.update(None, stable=False)
    assert outages.blockers() != []
    outages.update(None)
    clock.now += 2
    outages.update(None)
    assert (outages.blockers(), outage_metric()) == ([], 0)
    (outage,) = outages.claim()
    assert (outage.cause, outage.until - outage.since) == ("kafka-unavailable", 12_500)


def test_an_outage_is_reported_with_the_last_cause_that_was_found(clock: Clock) -> None:
    outages = OutageTracker()
    missing = Blocker.of(TopicsError("no such topic", "Make it"), clock.now)
    blocker = kafka_unavailable(clock)
    clock.now += 3
    outages.update(blocker)
    outages.update(missing)
    assert (outage_metric(), outages.blockers()) == (0, ["outage: no such topic. Make it"])
    clock.now += 1
    outages.update(None)
    clock.now += 2
    outages.update(None)
    assert [(outage.cause, outage.until - outage.since) for outage in outages.claim()] == [
        ("topic-missing", 4000)
    ]


def test_a_claimed_outage_can_be_claimed_again_if_the_first_subtask_dies(clock: Clock) -> None:
    outages, blocker = OutageTracker(), kafka_unavailable(clock)
    clock.now += 3
    outages.update(blocker)
    outages.update(None)
    clock.now += 3
    outages.update(None)
    claimed = outages.claim()
    assert len(claimed) == 1
    assert outages.claim() == []
    clock.now += 11
    assert outages.claim() == claimed
    outages.mark_reported(claimed)
    clock.now += 11
    assert outages.claim() == []
