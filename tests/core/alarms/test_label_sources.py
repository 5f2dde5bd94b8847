"""Labels of each source have detectors of their own, if they are enough."""

from collections.abc import Iterator, Sequence

from benchmarks.simulated_labels import DAY_MS, START, served_labels
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.alarms.label_sources import SHARED, LabelSources
from tests.core.alarms.streams import flipped, through_json

HORIZON = 2 * DAY_MS
DAYS = 25
FAULT = START + 21 * DAY_MS
Sent = tuple[ServedLabel, str | None]


def new(*declared: str) -> LabelSources:
    return LabelSources("binary", 1.0, HORIZON, None, declared)


def merged(*streams: tuple[Iterator[ServedLabel], str | None]) -> list[Sent]:
    labels = [(label, source) for stream, source in streams for label in stream]
    labels.sort(key=lambda one: one[0].label_time)
    return [(label._replace(offset=offset), one) for offset, (label, one) in enumerate(labels)]


def bank() -> Iterator[ServedLabel]:
    return served_labels(DAYS, 480, 1)


def shop(flips: float = 0.4) -> Iterator[ServedLabel]:
    return flipped(served_labels(DAYS, 480, 2), FAULT, FAULT + 2 * DAY_MS, flips, 3)


def alarms(
    sources: LabelSources, sent: Sequence[Sent], restart_every: int = 10**9
) -> list[tuple[str, int]]:
    """Returns source and time of each alarm; the first label is due at the start."""
    found: list[tuple[str, int]] = []
    names = [name for name in sources.names if name != SHARED]
    for number, (label, source) in enumerate(sent):
        sources.start(START)
        sources.add(label, source, assumed=False)
        found += [(one.source, one.alarm.finding.time) for one in sources.release(label.label_time)]
        if number % restart_every == restart_every - 1:
            state = through_json(sources.state())
            sources = new(*names)
            sources.restore(state)
    return found


def test_an_alarm_names_the_source_whose_labels_are_flipped() -> None:
    found = alarms(new("bank", "shop"), merged((bank(), "bank"), (shop(), "shop")))
    assert {source for source, _ in found} == {"shop"}
    assert FAULT < found[0][1] < FAULT + 2 * DAY_MS


def test_sources_that_restart_raise_the_same() -> None:
    sent = merged((bank(), "bank"), (shop(), "shop"))
    expected = alarms(new("bank", "shop"), sent)
    assert expected
    assert alarms(new("bank", "shop"), sent, restart_every=997) == expected


def test_labels_of_small_and_of_undeclared_sources_share_a_detector() -> None:
    few, fewer, direct = (
        flipped(served_labels(DAYS, per_day, per_day), FAULT, FAULT + DAY_MS, 0.5, 3)
        for per_day in (264, 240, 480)
    )
    sources = new("shop", "bank")
    found = alarms(sources, merged((few, "shop"), (fewer, "bank"), (direct, None)))
    assert {source for source, _ in found} == {SHARED}
    assert sources.names == [SHARED]


def test_all_labels_count_in_both_until_it_is_decided() -> None:
    sources = new("bank")
    sent = merged((bank(), "bank"))
    half = [one for one in sent if one[0].label_time < START + 10 * DAY_MS]
    alarms(sources, half)
    assert sources[SHARED].feed.waiting == sources["bank"].feed.waiting
    assert sources.names == ["bank", SHARED]


def test_a_source_that_is_declared_later_starts_over_and_others_continue() -> None:
    sent = merged((bank(), "bank"))
    before = new("bank", "old")
    alarms(before, sent)
    state = through_json(before.state())
    after = new("bank", "shop")
    after.restore(state)
    assert after["bank"].state() == before["bank"].state()
    assert after["shop"].state() == new("shop")["shop"].state()
    assert after.names == ["bank", "shop", SHARED]


def test_a_source_that_was_too_small_stays_with_the_others_after_a_restart() -> None:
    sources = new("bank", "shop")
    alarms(sources, merged((bank(), "bank"), (served_labels(DAYS, 24, 2), "shop")))
    restored = new("bank", "shop")
    restored.restore(through_json(sources.state()))
    assert restored.names == sources.names == ["bank", SHARED]


def test_at_most_twenty_sources_have_detectors_and_the_budget_is_shared_evenly() -> None:
    sources = new(*(f"source-{number}" for number in range(30)))
    assert len(sources.names) == 21
    assert new("labels").names == [SHARED]
