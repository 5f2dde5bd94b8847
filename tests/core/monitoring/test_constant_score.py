"""Constant scores: thousands of different events with the score of their version open an alarm."""

from collections.abc import Iterable

from stream_app.core.monitoring.constant_score import MAX_EQUAL_SCORES, ConstantScore
from stream_app.model_store.pickling import dump, load
from stream_app.records import Features, Score
from tests.learning import ALL_NAMES

Scored = tuple[int, Score, Features]


def alarms(scored: Iterable[Scored], detector: ConstantScore | None = None) -> list[int]:
    """Return the numbers with which alarms open."""
    detector = detector or ConstantScore()
    return [n for one in scored if (n := detector.update(*one))]


def equal(count: int, score: Score = 0.5, version: int = 1) -> list[Scored]:
    return [(version, score, {"x": float(number)}) for number in range(count)]


def test_an_alarm_opens_at_two_thousand_equal_scores_and_when_they_double() -> None:
    assert alarms(equal(MAX_EQUAL_SCORES * 5)) == [
        MAX_EQUAL_SCORES * factor for factor in (1, 2, 4)
    ]


def test_one_other_score_starts_over() -> None:
    other: list[Scored] = [(1, 0.6, {"x": 1.0})]
    assert alarms(equal(MAX_EQUAL_SCORES - 1) + other + equal(MAX_EQUAL_SCORES - 1)) == []


def test_the_same_event_again_and_again_opens_no_alarm() -> None:
    same: list[Scored] = [(1, 0.5, {"x": 1.0})]
    assert alarms(same * MAX_EQUAL_SCORES * 2) == []


def test_each_version_may_have_a_score_of_its_own_even_interleaved() -> None:
    scored: list[Scored] = [
        (version, version / 10, {"x": float(number)})
        for number in range(MAX_EQUAL_SCORES)
        for version in (1, 2)
    ]
    assert len(alarms(scored)) == 1


def test_versions_with_one_event_each_are_no_evidence() -> None:
    scored: list[Scored] = [
        (number, number / 1e6, {"x": float(number)}) for number in range(1, 5_000)
    ]
    assert alarms(scored) == []


def test_equal_probabilities_of_classes_open_an_alarm() -> None:
    assert len(alarms(equal(MAX_EQUAL_SCORES + 1, {"a": 0.5, "b": 0.5}))) == 1


def test_the_count_survives_a_checkpoint() -> None:
    detector = ConstantScore()
    assert alarms(equal(MAX_EQUAL_SCORES // 2), detector) == []
    copy = load(dump(detector), ALL_NAMES)
    assert alarms(equal(MAX_EQUAL_SCORES), copy) == [MAX_EQUAL_SCORES]
