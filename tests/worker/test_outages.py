"""A pause is said when it lasts, is over when it stays away, and is told once."""

from time import monotonic

import pytest
from prometheus_client import REGISTRY

from stream_app.errors import FencedError, KafkaUnavailableError, TopicsError
from stream_app.worker import outages as pauses_module
from stream_app.worker.outages import Blocker, OutageTracker


class Clock:
    """Monotonic seconds, as the test wants them."""

    def __init__(self) -> None:
        self.now = monotonic()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pauses_module, "monotonic", clock)
    return clock


def away(clock: Clock) -> Blocker:
    return Blocker.of(KafkaUnavailableError("Kafka is away", "Wait"), clock.now)


def paused() -> float | None:
    return REGISTRY.get_sample_value("stream_app_paused", {"cause": "kafka-unavailable"})


def test_errors_have_causes(clock: Clock) -> None:
    causes = [
        Blocker.of(kind("", ""), 0.0).cause
        for kind in (KafkaUnavailableError, TopicsError, FencedError)
    ]
    assert causes == ["kafka-unavailable", "topic-missing", "fenced"]


def test_what_is_soon_over_is_no_pause(clock: Clock) -> None:
    pauses, trouble = OutageTracker(), away(clock)
    clock.now += 1.9
    pauses.observe(trouble)
    assert (pauses.unready(), paused()) == ([], 0)
    clock.now += 10
    pauses.observe(None)
    assert pauses.claim() == []


def test_a_pause_lasts_until_its_trouble_stays_away_and_everything_is_settled(clock: Clock) -> None:
    pauses, trouble = OutageTracker(), away(clock)
    clock.now += 5
    pauses.observe(trouble)
    assert (pauses.unready(), paused()) == (["paused: Kafka is away. Wait"], 1)
    pauses.observe(None)
    clock.now += 1.5
    pauses.observe(None)
    pauses.observe(trouble)
    clock.now += 1
    pauses.observe(None, settled=False)
    clock.now += 5
    pauses.observe(None, settled=False)
    assert pauses.unready() != []
    pauses.observe(None)
    clock.now += 2
    pauses.observe(None)
    assert (pauses.unready(), paused()) == ([], 0)
    (pause,) = pauses.claim()
    assert (pause.cause, pause.until - pause.since) == ("kafka-unavailable", 12_500)


def test_a_pause_is_told_with_the_last_cause_that_was_found(clock: Clock) -> None:
    pauses, missing = (
        OutageTracker(),
        Blocker.of(TopicsError("no such topic", "Make it"), clock.now),
    )
    trouble = away(clock)
    clock.now += 3
    pauses.observe(trouble)
    pauses.observe(missing)
    assert (paused(), pauses.unready()) == (0, ["paused: no such topic. Make it"])
    clock.now += 1
    pauses.observe(None)
    clock.now += 2
    pauses.observe(None)
    assert [(pause.cause, pause.until - pause.since) for pause in pauses.claim()] == [
        ("topic-missing", 4000)
    ]


def test_a_pause_that_was_claimed_is_told_by_another_when_that_one_dies(clock: Clock) -> None:
    pauses, trouble = OutageTracker(), away(clock)
    clock.now += 3
    pauses.observe(trouble)
    pauses.observe(None)
    clock.now += 3
    pauses.observe(None)
    claimed = pauses.claim()
    assert len(claimed) == 1
    assert pauses.claim() == []
    clock.now += 11
    assert pauses.claim() == claimed
    pauses.told(claimed)
    clock.now += 11
    assert pauses.claim() == []
