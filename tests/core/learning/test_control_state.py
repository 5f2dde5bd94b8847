"""Control records: what they change, which of them are void, and recovery after a crash."""

from collections.abc import Iterator
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import (
    LEARNER,
    VERSION_CHANGES,
    Control,
    ControlCommand,
    decode_control,
    learner_commands,
)
from stream_app.core.learning.learner import SUPERSEDED
from stream_app.core.learning.learner_state import LearnerState
from tests.core.learning.learner_run import (
    STREAM,
    LearnerRun,
    Log,
    content,
    control,
    whole_and_crashed,
)
from tests.learning import measurements

COMMANDS = get_args(ControlCommand)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Draw examples with control records between them, some of them void."""
    length = draw(st.integers(20, 80))
    log: list[Example | Control] = list(STREAM[:length])
    decision = 0
    for offset in sorted(draw(st.lists(st.integers(10, length - 1), max_size=6, unique=True))):
        command: ControlCommand = draw(st.sampled_from(COMMANDS))
        since = draw(st.none() | st.integers(0, offset))
        changes_version = command in VERSION_CHANGES
        decision += draw(st.integers(0, 1)) if changes_version else 0
        log[offset] = control(command, 0 if changes_version else None, decision, since)
    return log


@settings(deadline=None, max_examples=40)
@given(log=logs(), data=st.data())
def test_a_crash_at_any_offset_changes_nothing(log: Log, data: st.DataObject) -> None:
    whole, run = whole_and_crashed(log, data)
    assert content(run.learner.state) == content(whole.learner.state)
    assert run.versions.keys() == whole.versions.keys()


def after(log: Log) -> LearnerState:
    run = LearnerRun(log)
    run.process(0, len(log))
    return run.learner.state


def test_the_state_does_not_change_before_the_preparation_is_complete() -> None:
    run = LearnerRun([*STREAM, control("rollback", 0, 1, since=0)])
    run.process(0, len(STREAM))
    before = content(run.learner.state)
    steps = run.learner.apply(len(STREAM), run.log[-1], run._version, run._examples)  # type: ignore[arg-type]  # the control record
    assert list(iter(lambda: next(steps), True)) == [False]
    assert content(run.learner.state) == before
    assert list(steps) == []
    assert run.learner.state.control.base_version == 0


def test_a_rollback_relearns_the_examples_after_its_version_once() -> None:
    log: Log = [*STREAM[:50], control("rollback", 20, 1, since=5), *STREAM[50:60]]
    assert content(after(log))[0] == content(after([*STREAM[:60]]))[0]
    assert after(log).learned.examples == 60


def test_examples_are_evaluated_during_a_pause_and_learned_once_after_it() -> None:
    paused: Log = [*STREAM[:30], control("pause"), *STREAM[30:50]]
    state = after(paused)
    assert (
        state.control.paused,
        state.learned.examples,
        state.learned.next_offset,
        state.evaluator.baseline.seen,
    ) == (True, 30, 30, 50)
    resumed = after([*paused, control("resume", since=0), *STREAM[50:60]])
    assert content(resumed)[0] == content(after([*STREAM[:60]]))[0]
    assert content(resumed)[3] == content(after([*STREAM[:60]]))[3]


def test_an_example_of_another_declaration_is_not_relearned() -> None:
    strange = replace(STREAM[25], fingerprint="other")
    log: Log = [*STREAM[:25], strange, *STREAM[26:30], control("rollback", 10, 1, since=10)]
    assert (after(log).learned.examples, after(log).unlearnable) == (29, 1)
    assert after(log).learned.unlearned == [[25, 26]]


def commands(decision: int) -> Iterator[Control]:
    for output in learner_commands(decision, "2026-01-01T00:00:00Z", "test", rollback_to=10):
        found = decode_control(output.value)
        assert found is not None
        yield found


def test_the_learner_can_pause_learning_and_roll_back() -> None:
    state = after([*STREAM[:30], *commands(0)])
    decided = state.control
    assert (decided.paused, decided.base_version, decided.decision) == (True, 10, 1)
    assert state.learned.examples == 10
    assert decided.selected_versions == {10}


@pytest.mark.parametrize("command", sorted(VERSION_CHANGES))
def test_commands_of_the_learner_are_void_after_somebody_has_selected_a_version(
    command: ControlCommand,
) -> None:
    decided = after([*STREAM[:30], control(command, 20, 1), *commands(0)]).control
    assert (decided.paused, decided.base_version, decided.decision) == (False, 20, 1)


def test_a_person_can_pause_learning_with_an_old_decision_number() -> None:
    log: Log = [*STREAM[:30], *commands(0), control("resume"), control("pause")]
    assert after(log).control.paused


@pytest.mark.parametrize(
    "void",
    [
        control("rollback", None, 5),
        control("rollback", 10, 0),
        control("resume", since=0),
        control("pin", 10),
    ],
)
def test_a_void_or_unrelated_control_record_changes_nothing(void: Control) -> None:
    assert content(after([*STREAM[:30], void])) == content(after([*STREAM[:30]]))


def test_late_labels_count_for_the_version_that_made_the_prediction() -> None:
    """After a rollback from a bad version 20 to a good version 0, labels of both arrive."""
    good = [replace(one, model_version=0, score=float(one.label)) for one in STREAM]
    bad = [replace(one, model_version=20, score=float(not one.label)) for one in STREAM]
    mixed = [pick[number % 2] for number, pick in enumerate(zip(good, bad, strict=True))]
    run = LearnerRun([*bad[:30], control("rollback", 0, 1), *mixed[30:100]])
    run.process(0, 101)
    (window,) = run.learner.state.evaluator.open.values()
    assert (window.metrics.n, window.superseded.n) == (35, 65)
    late = replace(bad[110], label_time=10**9)
    # A single time far ahead closes no window.
    assert measurements(run.learner.learn(101, late)) == []
    reports = measurements(run.learner.learn(102, late))
    found = {
        (one["reference"], one["value"], one["n"]) for one in reports if one["name"] == "accuracy"
    }
    assert found == {(None, 1.0, 35), (SUPERSEDED, 0.0, 65), (None, 0.35, 100)}


def test_the_author_of_the_learners_commands_is_the_learner() -> None:
    assert [one.who for one in commands(0)] == [LEARNER, LEARNER]
