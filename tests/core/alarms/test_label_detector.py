"""All detectors of the labels of a source: types, order, restarts, assumed labels, offsets."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulated_labels import DAY_MS, HORIZON_MS, HOUR_MS, START, served_labels
from stream_app.core.alarms.class_flips import MAX_CLASSES, ClassFlipDetector
from stream_app.core.alarms.label_detector import LabelAlarm, LabelDetector, LabelType
from stream_app.core.alarms.label_feed import ServedLabel
from tests.core.alarms.alarm_digest import labels_of, wrong
from tests.core.alarms.streams import flipped, through_json

SINCE = START + 30 * DAY_MS


def numbered(labels: Iterator[ServedLabel]) -> list[ServedLabel]:
    """Returns labels with offsets by label time, as the log of one partition would have them."""
    return [label._replace(offset=offset) for offset, label in enumerate(labels)]


def new(label_type: LabelType = "binary", absent: bool | None = None) -> LabelDetector:
    detector = LabelDetector(label_type, 1.0, HORIZON_MS, absent)
    detector.start(START)
    return detector


def run(detector: LabelDetector, labels: list[ServedLabel]) -> list[LabelAlarm]:
    """Adds labels that wait for a watermark of two hours before the newest, and one at the end."""
    alarms = []
    for label in labels:
        detector.add(label, assumed=False)
        alarms += detector.release(label.label_time - 2 * HOUR_MS)
    return alarms + detector.release(labels[-1].label_time)


def test_flips_are_found_with_the_offset_to_go_back_to() -> None:
    labels = numbered(flipped(served_labels(34, 960, 31), SINCE, SINCE + 3 * DAY_MS, 0.2, 31))
    first = run(new(), labels)[0]
    assert first.check == "flips"
    assert first.first_offset is not None
    margin = labels[first.first_offset].label_time
    assert first.finding.since - 9 * HOUR_MS <= margin <= first.finding.since - 7 * HOUR_MS


@given(st.integers(0, 2**32))
@settings(max_examples=3, deadline=None)
def test_alarms_are_the_same_for_any_order_within_the_watermark_and_any_restart(
    seed: int,
) -> None:
    rng = random.Random(seed)
    labels = numbered(flipped(served_labels(24, 120, 32), START, 2**62, 0.2, 32))
    expected = new()
    alarms = run(expected, labels)
    shuffled = sorted(labels, key=lambda one: one.label_time + rng.randrange(HOUR_MS))
    detector, found = new(), list[LabelAlarm]()
    for start in range(0, len(shuffled), 500):
        part = shuffled[start : start + 500]
        for label in part:
            detector.add(label, assumed=False)
            found += detector.release(label.label_time - 2 * HOUR_MS)
        other = new()
        other.restore(through_json(detector.state()))
        detector = other
    found += detector.release(labels[-1].label_time)
    assert found == alarms
    assert detector.state() == expected.state()


def test_assumed_labels_are_no_evidence() -> None:
    detector = new()
    for label in numbered(served_labels(3, 240, 33)):
        detector.add(label._replace(label=False), assumed=True)
    before = new().state()
    assert detector.release(2**62) == []
    after = detector.state()
    assert detector.assumed == 3 * 240
    assert after[1:] == before[1:]


def test_flips_are_off_while_only_one_kind_of_label_comes() -> None:
    detector = new(absent=False)
    positive = [one for one in served_labels(20, 960, 34) if one.label]
    run(detector, positive)
    assert "of one kind" in detector.off
    run(detector, numbered(served_labels(3, 960, 35, start=START + 20 * DAY_MS)))
    assert detector.off == ""


def test_the_share_of_positives_says_nothing_if_only_these_come() -> None:
    detector = new(absent=False)
    days = [(one, (one.label_time - START) // DAY_MS) for one in served_labels(60, 960, 34)]
    sent = [one for one, day in days if one.label and (day % 7 < 5 or one.event_time % 5 == 0)]
    assert run(detector, numbered(iter(sent))) == []


def claims(days: int, seed: int) -> list[ServedLabel]:
    """Returns labels of some days of claims, without those that come after the last day.

    True ones are known after two days, a third of the others after five on average.
    """
    rng = random.Random(seed)
    found = []
    for label in served_labels(days, 960, seed):
        delay = 2.0 if label.label else min(rng.expovariate(0.2), 14.0)
        time = label.event_time + int(delay * DAY_MS)
        if (label.label or rng.random() < 1 / 3) and time < START + days * DAY_MS:
            found.append(label._replace(label_time=time))
    return numbered(iter(sorted(found, key=lambda one: one.label_time)))


def test_labels_that_come_later_if_they_are_false_raise_nothing_unless_they_are_wrong() -> None:
    def of_claims() -> LabelDetector:
        detector = LabelDetector("binary", 1.0, 14 * DAY_MS, absent=False)
        detector.start(START)
        return detector

    labels, since = claims(120, 38), START + 80 * DAY_MS
    assert run(of_claims(), labels) == []
    bad = flipped(iter(labels), since, since + 5 * DAY_MS, 0.3, 38)
    first = run(of_claims(), list(bad))[0]
    assert first.check == "flips"
    assert since < first.finding.time <= since + 6 * DAY_MS


@pytest.mark.parametrize(
    ("value", "seed", "alternatives"), [(False, 36, (0.1, 0.5)), (True, 37, (1.5, 3.0))]
)
def test_labels_that_are_all_set_to_one_value_are_found_by_their_share(
    value: bool, seed: int, alternatives: tuple[float, float]
) -> None:
    labels = numbered(served_labels(34, 480, seed))
    bad = [one._replace(label=value) if one.label_time >= SINCE else one for one in labels]
    first = next(alarm for alarm in run(new(), bad) if alarm.check == "share")
    assert SINCE < first.finding.time <= SINCE + 4 * DAY_MS
    assert first.finding.alternative in alternatives


def test_classes_of_other_events_are_found() -> None:
    labels = numbered(labels_of("class", 34, 240, 38))
    assert run(new("class"), labels) == []
    first = run(new("class"), wrong(iter(labels), SINCE, 0.5, 38))[0]
    assert SINCE < first.finding.time < SINCE + 4 * DAY_MS
    assert first.finding.name in "abcd"


def test_classes_beyond_the_first_eight_have_no_detector_of_their_own() -> None:
    detector = ClassFlipDetector(8760.0, HORIZON_MS)
    detector.start(START)
    for number in range(20):
        name = f"class {number}"
        assert detector.check(START + number, START, name, {name: 0.5}) is None
    assert len(detector.state()[1]) == MAX_CLASSES


def test_numbers_of_other_events_are_found() -> None:
    labels = numbered(labels_of("number", 34, 480, 39))
    assert run(new("number"), labels) == []
    first = run(new("number"), wrong(iter(labels), SINCE, 0.4, 39))[0]
    assert first.check == "flips"
    assert SINCE < first.finding.time < SINCE + 3 * DAY_MS


def test_numbers_in_another_unit_are_found() -> None:
    labels = numbered(labels_of("number", 34, 480, 40))
    bad = [
        one._replace(label=one.label * 1000) if one.label_time >= SINCE else one for one in labels
    ]
    assert SINCE < run(new("number"), bad)[0].finding.time < SINCE + 3 * DAY_MS


@pytest.mark.parametrize("label_type", ["binary", "class", "number"])
@pytest.mark.parametrize(
    ("label", "score"),
    [
        (True, "0.5"),
        ("a", {"b": 1.0}),
        ("a", {}),
        (1e300, -1e300),
        (True, float("nan")),
        (7, 7),
        (None, None),
    ],
)
def test_labels_of_any_type_harm_nothing(
    label_type: LabelType, label: object, score: object
) -> None:
    detector = new(label_type)
    for number in range(50):
        detector.add(ServedLabel(START + number, START, 0, number, label, score), assumed=False)
    assert detector.release(2**62) == []
    other = new(label_type)
    other.restore(through_json(detector.state()))
    assert other.state() == detector.state()
