"""`explain` says of every label what became of it."""

import pytest

from stream_app.explain.entry_history import EntryState
from stream_app.explain.event_trace import FailureDetail
from stream_app.explain.label_knowledge import LabelKnowledge, label_state
from tests.small_pipeline import HOUR, NOW

REMOVED_AT = "2026-01-01T00:00:00.000+00:00"
LATE = FailureDetail("event-too-late", "the event came 1 h 00 min 00.000 s later than allowed", "")


def knowledge(
    entry: EntryState = "pending",
    *,
    scored: bool = True,
    example_time: int | None = None,
    unlearned: bool = False,
    failures: tuple[FailureDetail, ...] = (),
) -> LabelKnowledge:
    """Return what is known of an event at `NOW` with a horizon of a day."""
    due_by, partition = (NOW + 24 * HOUR, 3) if scored else (None, None)
    removed_at = REMOVED_AT if entry == "removed" else None
    return LabelKnowledge(
        due_by, example_time, entry, removed_at, partition, unlearned, 6 * HOUR, failures
    )


@pytest.mark.parametrize(
    ("known", "hours", "after", "expected"),
    [
        (knowledge("joined", example_time=NOW + HOUR), 1, [], "joined"),
        (
            knowledge("joined", example_time=NOW + HOUR),
            1,
            ["joined"],
            "duplicate: the event had a label already",
        ),
        (
            knowledge("joined", example_time=NOW + HOUR),
            2,
            [],
            "duplicate: the event got another label",
        ),
        (knowledge("joined", unlearned=True), 1, [], "joined"),
        (knowledge(), 25, [], "not counted: known 1 h 00 min 00.000 s after the horizon"),
        (knowledge("waiting", scored=False), 1, [], "waiting for its event"),
        (
            knowledge("waiting", scored=False),
            1,
            ["waiting for its event"],
            "duplicate: the event had a label already",
        ),
        (knowledge("removed"), 1, [], "no longer known: its example or its dead letter is deleted"),
    ],
)
def test_a_label_that_is_no_dead_letter_has_one_outcome(
    known: LabelKnowledge, hours: int, after: list[str], expected: str
) -> None:
    assert known.outcome(NOW + hours * HOUR, after) == expected


@pytest.mark.parametrize(
    ("code", "known", "hours", "partition", "expected"),
    [
        (
            "label-too-late",
            knowledge("removed"),
            1,
            3,
            "The label became known within the horizon; its prediction was closed when event time "
            f"passed 2023-11-16T04:13:20.000+00:00, at {REMOVED_AT} by the scorer's clock",
        ),
        (
            "label-too-late",
            knowledge("removed"),
            25,
            3,
            "The label became known 1 h 00 min 00.000 s after the horizon; its prediction was",
        ),
        (
            "unknown-event",
            knowledge(),
            1,
            3,
            "Its event was scored after the label had been given up",
        ),
        (
            "unknown-event",
            knowledge(),
            1,
            0,
            "Its event is in partition 3, the label in 0: they have other keys",
        ),
        (
            "unknown-event",
            knowledge("unknown", scored=False, failures=(LATE,)),
            1,
            3,
            f"Its event is a dead letter too: {LATE.message}",
        ),
        (
            "unknown-event",
            knowledge("unknown", scored=False),
            1,
            3,
            "No record of its event is found",
        ),
    ],
)
def test_a_label_without_prediction_says_what_became_of_its_event(
    code: str, known: LabelKnowledge, hours: int, partition: int, expected: str
) -> None:
    failure = FailureDetail(code, "as the scorer says", "remedy")
    found = known.explained(failure, NOW + hours * HOUR, partition)
    assert found.message.startswith(f"as the scorer says. {expected}")
    assert found.remedy == "remedy"


def test_other_failures_of_a_label_stay_as_they_are() -> None:
    failure = FailureDetail("wrong-type", "field fraud", "remedy")
    assert knowledge().explained(failure, None, 3) == failure


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (knowledge("joined", example_time=NOW), "joined"),
        (knowledge("joined", unlearned=True), "joined; not learned: replayed with --no-learn"),
        (knowledge("joined"), "joined; it has no example"),
        (knowledge(), "awaited"),
        (knowledge("waiting", scored=False), "waiting for its event"),
        (knowledge("unknown", scored=False), "none"),
        (knowledge("removed"), "none in time"),
        (
            knowledge("removed", unlearned=True),
            "unknown, because the prediction is closed; not learned: replayed with --no-learn",
        ),
    ],
)
def test_the_state_of_the_label_is_that_of_the_scorer(known: LabelKnowledge, expected: str) -> None:
    assert label_state(known) == expected
