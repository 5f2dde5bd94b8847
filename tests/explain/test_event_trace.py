"""The first version that learned an example, and the trace of an event as text and JSON."""

import json
from collections.abc import Iterator
from typing import cast

import pytest

from stream_app.core.learning.control_commands import Control, ControlCommand, ControlState
from stream_app.core.learning.learner_state import MAX_UNLEARNED
from stream_app.core.published_records import ScoredRecord
from stream_app.explain.event_trace import (
    EventTrace,
    FailureDetail,
    FieldChange,
    LearnedVersion,
    PreparedInput,
    Rescoring,
    TracedRecord,
    trace_lines,
    trace_object,
)
from stream_app.explain.first_learner import (
    NOT_LEARNED,
    FirstLearner,
    LoggedExample,
    first_learner,
)
from stream_app.model_store.manifest import Manifest
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
            "a rollback to version 50 at offset 80 discarded it",
        ),
        (70, None, [(80, decision("rollback", 50, since=60))], FirstLearner(100, True)),
        (70, decision("resume"), [], FirstLearner(100, True)),
        (70, decision("pause"), [], "learning is paused"),
        (
            70,
            decision("pause"),
            [(120, decision("resume"))],
            "learning was paused and resumed after it",
        ),
        (70, decision("pause"), [(120, decision("resume", since=60))], FirstLearner(150, True)),
    ],
)
def test_decisions_determine_the_first_version_that_learned_an_example(
    offset: int,
    before: Control | None,
    after: list[tuple[int, Control]],
    expected: FirstLearner | str,
) -> None:

    def decisions(start: int, end: int | None) -> Iterator[tuple[int, Control]]:
        return (one for one in after if start <= one[0] and (end is None or one[0] < end))

    control = ControlState(paused=before is not None and before.command == "pause")
    found = first_learner(VERSIONS, LoggedExample(offset), control, decisions)
    assert found == (
        expected if isinstance(expected, FirstLearner) else FirstLearner(None, True, expected)
    )


def rule(
    act: ControlCommand, source: str | None = None, since: int | None = None, exclusion: int = 0
) -> Control:
    """Return a command about a source, or about the label times from 5 to 10."""
    command = decision(act, since=since)._replace(source=source)
    return command._replace(exclusion=exclusion, start=5, end=10) if exclusion else command


EXCLUDED = "exclusion 1 by ann@here covers its label: test"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([rule("pause", "bank")], [], "learning from bank is paused"),
        ([rule("pause", "shop")], [], FirstLearner(100, True)),
        (
            [rule("pause", "bank")],
            [(120, rule("resume", "bank"))],
            "learning was paused and resumed after it",
        ),
        ([rule("pause", "bank")], [(120, rule("resume", "bank", 60))], FirstLearner(150, True)),
        (
            [rule("pause", "bank")],
            [(120, rule("resume", "shop", 60))],
            "learning from bank is paused",
        ),
        ([rule("exclude", exclusion=1)], [], EXCLUDED),
        ([rule("exclude", "shop", exclusion=1)], [], FirstLearner(100, True)),
        ([rule("exclude", exclusion=1)], [(80, rule("include", exclusion=1))], EXCLUDED),
        (
            [rule("exclude", exclusion=1)],
            [(80, rule("include", exclusion=1)), (120, decision("rollback", 50, since=60))],
            FirstLearner(150, True),
        ),
        (
            [],
            [(80, rule("exclude", exclusion=1)), (90, decision("rollback", 50, since=60))],
            EXCLUDED,
        ),
        ([], [(110, rule("exclude", exclusion=1))], FirstLearner(100, True)),
    ],
)
def test_pauses_and_exclusions_determine_the_first_version_that_learned_an_example(
    before: list[Control], after: list[tuple[int, Control]], expected: FirstLearner | str
) -> None:
    control = ControlState()
    for one in before:
        control.apply(10, one)

    def decisions(start: int, end: int | None) -> Iterator[tuple[int, Control]]:
        return (one for one in after if start <= one[0] and (end is None or one[0] < end))

    found = first_learner(VERSIONS, LoggedExample(70, 7, "bank"), control, decisions)
    assert found == (
        expected if isinstance(expected, FirstLearner) else FirstLearner(None, True, expected)
    )


def test_a_version_is_not_the_first_if_earlier_ones_may_be_deleted() -> None:
    registry = ModelRegistry.of([version(100)])
    found = first_learner(registry, LoggedExample(70), ControlState(), lambda *_: [])
    assert found == FirstLearner(100, False)


@pytest.mark.parametrize(
    ("unlearned", "offset", "expected"),
    [
        ([[60, 71], [80, 81]], 70, FirstLearner(None, True, NOT_LEARNED)),
        ([[60, 70], [80, 81]], 70, FirstLearner(100, True)),
        # A version names the newest that it could not learn: of older examples nothing is known.
        (
            [[one, one + 1] for one in range(71, 71 + MAX_UNLEARNED)],
            70,
            FirstLearner(300, True, "", False),
        ),
        (
            [[one, one + 1] for one in range(70, 70 + MAX_UNLEARNED)],
            72,
            FirstLearner(None, True, NOT_LEARNED),
        ),
    ],
)
def test_an_example_that_could_not_be_learned_has_no_version(
    unlearned: list[list[int]], offset: int, expected: FirstLearner
) -> None:
    number = 300 if len(unlearned) == MAX_UNLEARNED else 100
    key, value = version(number)
    assert value is not None
    changed = Manifest.decode(value)._replace(unlearned=unlearned)
    registry = ModelRegistry.of([version(0), (key, changed.encode())])
    found = first_learner(registry, LoggedExample(offset), ControlState(), lambda *_: [])
    assert found == expected


def test_a_trace_says_that_the_example_may_not_have_been_learned() -> None:
    trace = sample_trace()
    assert trace.learned is not None
    uncertain = trace._replace(learned=trace.learned._replace(is_certain=False))
    assert "learned it is 100, unless it could not be learned" in "\n".join(trace_lines(uncertain))


def sample_trace() -> EventTrace:
    scored = {
        "score": 0.7,
        "prediction": True,
        "degraded": None,
        "model": {"version": 50},
        "label_due_by": 0,
        "origin": None,
    }
    return EventTrace(
        "p1",
        "NL-17",
        "scored",
        [
            TracedRecord("p.raw", 3, 17, "2026", "scored", None, '{"id": "p1"}'),
            TracedRecord(
                "p.raw",
                3,
                19,
                "2026",
                "dead-lettered",
                FailureDetail("wrong-type", "field x", "Fix it"),
                "\x1b[2J",
            ),
        ],
        False,
        PreparedInput({"country": FieldChange(None, "NL")}, ("country",), {"amount": 1.0}, None),
        cast(ScoredRecord, scored),
        Rescoring(0.7, True, None, {"amount": 0.9, "(intercept)": -0.05}),
        "joined",
        [TracedRecord("p.labels", 3, 5, "2026", "joined", None, "{}")],
        LearnedVersion(70, True, "2026", 100, True, ""),
    )


def test_a_trace_as_text_has_every_part() -> None:
    text = "\n".join(trace_lines(sample_trace()))
    for expected in (
        "p1: scored",
        "key            NL-17",
        "p.raw[3]@17",
        "wrong-type: field x. Fix it",
        "country: None -> 'NL'  (imputed)",
        "0.7, the same",
        "amount +0.900  (intercept) -0.050",
        "the first version that learned it is 100",
    ):
        assert expected in text
    assert "\x1b" not in text


def test_a_trace_names_what_is_deleted_or_cannot_be_computed() -> None:
    trace = sample_trace()._replace(
        raw_deleted=True,
        rescored=Rescoring(None, None, "version 50 is deleted"),
        label="awaited",
        learned=None,
    )
    text = "\n".join(trace_lines(trace))
    assert "deleted by the topic's retention" in text
    assert "the score cannot be computed again: version 50 is deleted" in text
    assert "awaited until 1970-01-01" in text
    other = "\n".join(trace_lines(sample_trace()._replace(rescored=Rescoring(0.6, False, None))))
    assert "0.6, NOT the score that was served" in other


def test_a_trace_shows_the_passed_fields() -> None:
    scored = cast(
        ScoredRecord, {**(sample_trace().scored or {}), "fields": {"id": 7, "raw": b"\xff"}}
    )
    trace = sample_trace()._replace(scored=scored)
    assert "fields         id=7  raw=\xff" in list(trace_lines(trace))
    assert json.loads(json.dumps(trace_object(trace)))["scored"]["fields"] == {
        "id": 7,
        "raw": "\xff",
    }


def test_a_trace_as_json_has_plain_values() -> None:
    found = json.loads(json.dumps(trace_object(sample_trace())))
    assert found["prepared"]["changed"] == {"country": {"before": None, "after": "NL"}}
    assert found["events"][1]["failure"]["code"] == "wrong-type"
