"""Decisions in the log and the learner: what they do, which of them are void, and that no crash changes anything."""

from collections.abc import Iterator, Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.example import Example
from stream_app.core.learning.control_record import (
    LEARNER,
    SWITCHES,
    Control,
    ControlAct,
    decode_control,
    learner_orders,
)
from stream_app.core.learning.control_state import first_again, learn_again
from stream_app.core.learning.learner import FORMER, Learner, LearnerState
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.pickling import dump, load
from tests.learning import ALL_NAMES, FINGERPRINT, examples, measurements, pipeline, scores_of

Log = Sequence[Example | Control]
STREAM = examples(120)
ACTS = get_args(ControlAct)


def control(
    act: ControlAct, version: int | None = None, epoch: int = 0, since: int | None = None
) -> Control:
    return Control(act, version, epoch, "2026-01-01T00:00:00Z", "ann@here", "test", since)


class Run:
    """A learner over a log, with the versions that it has published: one after every tenth record."""

    def __init__(self) -> None:
        self.learner = Learner(pipeline(), FINGERPRINT)
        self.versions = {0: self.learner.state.copied()}

    def go_on(self, log: Log, start: int, end: int) -> None:
        for offset in range(start, end):
            record = log[offset]
            if isinstance(record, Control):
                self._obey(log, offset, record)
            else:
                self.learner.learn(offset, record)
            if offset % 10 == 9 and not self.learner.state.held:
                self.versions[offset + 1] = self.learner.state.copied()

    def _obey(self, log: Log, offset: int, record: Control) -> None:
        state = self.learner.state
        if state.is_void(record):
            return
        start = None
        if state.needs(record):
            start = (
                self.versions[record.version or 0] if record.act in SWITCHES else state
            ).copied()
            again = range(first_again(start, record, offset), offset)
            learn_again(
                start,
                FINGERPRINT,
                ((at, one) for at in again if isinstance(one := log[at], Example)),
            )
        state.obey(offset, record, start)

    def crash(self, checkpoint: bytes) -> None:
        """Go on from that state."""
        self.learner = Learner(pipeline(), FINGERPRINT, load(checkpoint, ALL_NAMES))


def facts(state: LearnerState) -> tuple[object, ...]:
    """All there is to know, bit for bit."""
    scores = scores_of(LoadedModel("p", 0, FINGERPRINT, state.model, BinaryTask()))
    decided = (state.epoch, state.decided_at, state.base, state.chosen, state.held)
    learned = (
        state.learned,
        state.learned_through,
        state.learned_to,
        state.features,
        state.unlearnable,
    )
    return scores, decided, learned, state.evaluator, state.failures


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Examples with decisions between them, some void, some about versions that come from before others."""
    length = draw(st.integers(20, 80))
    log: list[Example | Control] = list(STREAM[:length])
    epoch = 0
    for place in sorted(draw(st.lists(st.integers(10, length - 1), max_size=6, unique=True))):
        act: ControlAct = draw(st.sampled_from(ACTS))
        since = draw(st.none() | st.integers(0, place))
        epoch += draw(st.integers(0, 1)) if act in SWITCHES else 0
        log[place] = control(act, 0 if act in SWITCHES else None, epoch, since)
    return log


@settings(deadline=None, max_examples=40)
@given(log=logs(), data=st.data())
def test_crashes_anywhere_change_nothing(log: Log, data: st.DataObject) -> None:
    whole = Run()
    whole.go_on(log, 0, len(log))
    checkpointed = data.draw(st.integers(0, len(log)), label="checkpointed at")
    crashed = data.draw(st.integers(checkpointed, len(log)), label="crashed at")
    run = Run()
    run.go_on(log, 0, checkpointed)
    checkpoint = dump(run.learner.state)
    run.go_on(log, checkpointed, crashed)
    run.crash(checkpoint)
    run.go_on(log, checkpointed, len(log))
    assert facts(run.learner.state) == facts(whole.learner.state)
    assert run.versions.keys() == whole.versions.keys()


def after(log: Log) -> LearnerState:
    run = Run()
    run.go_on(log, 0, len(log))
    return run.learner.state


def test_a_rollback_learns_again_what_comes_after_its_version_and_nothing_twice() -> None:
    log: Log = [*STREAM[:50], control("rollback", 20, 1, since=5), *STREAM[50:60]]
    assert facts(after(log))[0] == facts(after([*STREAM[:60]]))[0]
    assert after(log).learned == 60


def test_what_was_held_is_judged_and_what_is_resumed_is_learned_once() -> None:
    held: Log = [*STREAM[:30], control("hold"), *STREAM[30:50]]
    state = after(held)
    assert (state.held, state.learned, state.learned_to, state.evaluator.known.seen) == (
        True,
        30,
        30,
        50,
    )
    resumed = after([*held, control("resume", since=0), *STREAM[50:60]])
    assert facts(resumed)[0] == facts(after([*STREAM[:60]]))[0]
    assert facts(resumed)[3] == facts(after([*STREAM[:60]]))[3]


def test_an_example_of_another_declaration_is_not_learned_again_either() -> None:
    strange = STREAM[25]._replace(fingerprint="other")
    log: Log = [*STREAM[:25], strange, *STREAM[26:30], control("rollback", 10, 1, since=10)]
    assert (after(log).learned, after(log).unlearnable) == (29, 1)


def orders(epoch: int) -> Iterator[Control]:
    for output in learner_orders(epoch, "2026-01-01T00:00:00Z", "test", to=10):
        found = decode_control(output.value)
        assert found is not None
        yield found


def test_orders_of_the_learner_hold_and_roll_back() -> None:
    state = after([*STREAM[:30], *orders(0)])
    assert (state.held, state.base, state.epoch, state.learned) == (True, 10, 1, 10)
    assert state.chosen == {10}


@pytest.mark.parametrize("act", sorted(SWITCHES))
def test_orders_of_the_learner_are_void_once_somebody_has_chosen(act: ControlAct) -> None:
    state = after([*STREAM[:30], control(act, 20, 1), *orders(0)])
    assert (state.held, state.base, state.epoch) == (False, 20, 1)


def test_a_person_may_hold_whatever_the_epoch() -> None:
    assert after([*STREAM[:30], *orders(0), control("resume"), control("hold")]).held


@pytest.mark.parametrize(
    "void",
    [
        control("rollback", None, 5),
        control("rollback", 10, 0),
        control("resume", since=0),
        control("pin", 10),
    ],
)
def test_what_is_void_or_not_about_learning_changes_nothing(void: Control) -> None:
    assert facts(after([*STREAM[:30], void])) == facts(after([*STREAM[:30]]))


def test_labels_of_predictions_in_flight_credit_the_versions_that_made_them() -> None:
    """Version 0 serves well and is rolled back to, version 20 served badly; labels of both come after the decision."""
    good = [one._replace(model_version=0, score=float(one.label)) for one in STREAM]
    bad = [one._replace(model_version=20, score=float(not one.label)) for one in STREAM]
    mixed = [pick[number % 2] for number, pick in enumerate(zip(good, bad, strict=True))]
    run = Run()
    run.go_on([*bad[:30], control("rollback", 0, 1), *mixed[30:100]], 0, 101)
    (window,) = run.learner.state.evaluator.open.values()
    assert (window.card.n, window.former.n) == (35, 65)
    late = bad[110]._replace(label_time=10**9)
    reports = measurements(run.learner.learn(101, late))
    found = {
        (one["reference"], one["value"], one["n"]) for one in reports if one["name"] == "accuracy"
    }
    assert found == {(None, 1.0, 35), (FORMER, 0.0, 65), (None, 0.35, 100)}


def test_who_decides_is_known() -> None:
    assert [one.who for one in orders(0)] == [LEARNER, LEARNER]
