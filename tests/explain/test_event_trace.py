"""Who learned an example first, and how a story is told; `tests/faults/test_reproducing.py` has real ones."""

import json
from collections.abc import Iterator

import pytest

from stream_app.core.learning.examples_log import Control, ControlCommand
from stream_app.explain.event_trace import (
    Again,
    Change,
    EventTrace,
    FailedAttempt,
    LearnedVersion,
    PreparedInput,
    ReplaySent,
    story_lines,
    story_object,
)
from stream_app.explain.first_learner import FirstLearner, first_learner
from stream_app.model_store.model_registry import ModelRegistry
from tests.model_store.test_model_registry import version

VERSIONS = ModelRegistry.of([version(0), version(50, 0), version(100, 50), version(150, 100)])


def decision(act: ControlCommand, to: int | None = None, since: int | None = None) -> Control:
    return Control(act, to, 1, "2026-01-01T00:00:00Z", "ann@here", "test", since)


@pytest.mark.parametrize(
    ("offset", "before", "after", "expected"),
    [
        (70, None, [], FirstLearner(100, True)),
        (70, None, [(110, decision("rollback", 50))], FirstLearner(100, True)),
        (200, None, [], FirstLearner(None, True)),
        (
            70,
            None,
            [(80, decision("rollback", 50))],
            "a rollback to version 50 at offset 80 went on without it",
        ),
        (70, None, [(80, decision("rollback", 50, since=60))], FirstLearner(100, True)),
        (70, decision("resume"), [], FirstLearner(100, True)),
        (70, decision("pause"), [], "learning was held, and still is"),
        (
            70,
            decision("pause"),
            [(120, decision("resume"))],
            "learning was held, and went on without it",
        ),
        (70, decision("pause"), [(120, decision("resume", since=60))], FirstLearner(150, True)),
    ],
)
def test_decisions_say_who_learned_it_first(
    offset: int,
    before: Control | None,
    after: list[tuple[int, Control]],
    expected: FirstLearner | str,
) -> None:

    def decisions(start: int, end: int | None) -> Iterator[tuple[int, Control]]:
        return (one for one in after if start <= one[0] and (end is None or one[0] < end))

    found = first_learner(VERSIONS, offset, before, decisions)
    assert found == (
        expected if isinstance(expected, FirstLearner) else FirstLearner(None, True, expected)
    )


def test_a_version_is_not_called_the_first_when_earlier_ones_were_retired() -> None:
    assert first_learner(ModelRegistry.of([version(100)]), 70, None, lambda *_: []) == FirstLearner(
        100, False
    )


def story() -> EventTrace:
    scored = {
        "score": 0.7,
        "prediction": True,
        "degraded": None,
        "model": {"version": 50},
        "label_due_by": 0,
    }
    return EventTrace(
        "p1",
        "scored",
        [
            ReplaySent("p.raw", 3, 17, "2026", "scored", None, '{"id": "p1"}'),
            ReplaySent(
                "p.raw",
                3,
                19,
                "2026",
                "dead-lettered",
                FailedAttempt("wrong-type", "field x", "Mend it"),
                "\x1b[2J",
            ),
        ],
        False,
        PreparedInput({"country": Change(None, "NL")}, ("country",), {"amount": 1.0}, None),
        scored,
        Again(0.7, True, None, {"amount": 0.9, "(intercept)": -0.05}),
        "joined",
        [ReplaySent("p.labels", 3, 5, "2026", "joined", None, "{}")],
        LearnedVersion(70, True, "2026", 100, True, ""),
    )


def test_a_story_is_told_line_by_line() -> None:
    text = "\n".join(story_lines(story()))
    for expected in (
        "p1: scored",
        "p.raw[3]@17",
        "wrong-type: field x. Mend it",
        "country: None -> 'NL'  (imputed)",
        "0.7, the same",
        "amount +0.900  (intercept) -0.050",
        "the first version with it is 100",
    ):
        assert expected in text
    assert "\x1b" not in text


def test_what_cannot_be_told_is_said_so() -> None:
    told = story()._replace(
        raw_deleted=True,
        again=Again(None, None, "version 50 is not kept any more"),
        label="awaited",
        learned=None,
    )
    text = "\n".join(story_lines(told))
    assert "deleted by the topic's retention" in text
    assert "the score cannot be computed again: version 50 is not kept any more" in text
    assert "awaited until 1970-01-01" in text
    other = "\n".join(story_lines(story()._replace(again=Again(0.6, False, None))))
    assert "0.6, which is NOT what was served" in other


def test_for_programs_a_story_is_plain_json() -> None:
    found = json.loads(json.dumps(story_object(story())))
    assert found["prepared"]["changed"] == {"country": {"before": None, "after": "NL"}}
    assert found["events"][1]["failed"]["code"] == "wrong-type"
