"""Paused sources and exclusions: the model is one that never saw the examples they cover."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example, label_source
from stream_app.core.learning.control_commands import Control, decode_control
from stream_app.core.learning.learner_state import LearnerState
from stream_app.model_store.model_loading import LoadedModel
from stream_app.records import Score
from tests.core.learning.learner_run import (
    STREAM,
    LearnerRun,
    Log,
    content,
    control,
    whole_and_crashed,
)
from tests.learning import FINGERPRINT, logistic, scores_of

SOURCES = (None, "bank", "shop")


def from_source(example: Example, source: str | None) -> Example:
    """Return an example whose label comes from a source."""
    return replace(example, label_source=source)


SOURCED = [from_source(one, SOURCES[number % 3]) for number, one in enumerate(STREAM)]


def time_of(example: Example) -> int:
    return example.label_time


def exclusion(number: int, first: Example, last: Example, source: str | None = None) -> Control:
    """Return the command that excludes the label times from one example to another, inclusive."""
    start, end = sorted((first.label_time, last.label_time))
    command = control("exclude", source=source)
    return command._replace(exclusion=number, start=start, end=end + 1)


# Examples with the first and the last label time.
ENDS = min(SOURCED, key=time_of), max(SOURCED, key=time_of)


def inclusion(number: int) -> Control:
    return control("include")._replace(exclusion=number)


def after(log: Log) -> LearnerState:
    run = LearnerRun(log)
    run.process(0, len(log))
    return run.learner.state


def of_source(source: str, stream: Iterable[Example]) -> list[Example]:
    return [one for one in stream if label_source(one) == source]


def without(source: str, stream: Iterable[Example]) -> list[Example]:
    return [one for one in stream if label_source(one) != source]


def scores(state: LearnerState) -> list[Score]:
    return content(state)[0]  # type: ignore[return-value]


def learned_from(stream: Iterable[Example]) -> list[Score]:
    """Return the scores of a model that has learned only these examples, in this order."""
    model = logistic()
    for one in stream:
        model.learn_one(one.features, one.label)
    return scores_of(LoadedModel("p", 0, FINGERPRINT, model, BinaryTask()))


def test_examples_of_a_paused_source_are_evaluated_and_not_learned() -> None:
    state = after([*SOURCED[:30], control("pause", source="bank"), *SOURCED[30:60]])
    assert scores(state) == learned_from([*SOURCED[:30], *without("bank", SOURCED[30:60])])
    assert (state.evaluator.baseline.seen, state.learned.examples) == (60, 50)
    assert state.not_learned == {"source-paused": 10}
    assert state.unlearnable == 0


def test_a_resumed_source_is_learned_from_its_pause_on_after_the_others() -> None:
    log: Log = [
        *SOURCED[:30],
        control("pause", source="bank"),
        *SOURCED[30:60],
        control("resume", since=0, source="bank"),
        *SOURCED[60:70],
    ]
    state = after(log)
    expected = [*SOURCED[:30], *without("bank", SOURCED[30:60]), *of_source("bank", SOURCED[30:60])]
    assert scores(state) == learned_from([*expected, *SOURCED[60:70]])
    assert (state.learned.examples, state.learned.paused_from) == (70, {})


def test_a_resumption_without_since_skips_the_examples_of_the_source() -> None:
    log: Log = [*SOURCED[:30], control("pause", source="bank"), *SOURCED[30:60]]
    state = after([*log, control("resume", source="bank"), *SOURCED[60:70]])
    expected = [*SOURCED[:30], *without("bank", SOURCED[30:60]), *SOURCED[60:70]]
    assert scores(state) == learned_from(expected)


def test_an_exclusion_comes_into_force_where_it_is_in_the_log() -> None:
    """Examples before the command stay learned, even if they are of the span."""
    log: Log = [*SOURCED[:40], exclusion(1, *ENDS), *SOURCED[40:60]]
    state = after(log)
    assert scores(state) == learned_from(SOURCED[:40])
    assert state.not_learned == {"excluded": 20}
    assert state.evaluator.baseline.seen == 60


def test_an_exclusion_of_a_source_leaves_out_no_other() -> None:
    log: Log = [exclusion(1, *ENDS, "shop"), *SOURCED[:60]]
    assert scores(after(log)) == learned_from(without("shop", SOURCED[:60]))


def test_an_exclusion_holds_while_earlier_examples_are_relearned() -> None:
    """The rollback selects a version from before the command, which comes after the examples."""
    wrong = SOURCED[40:50]
    span = min(wrong, key=time_of), max(wrong, key=time_of)
    log: Log = [*SOURCED[:60], exclusion(1, *span), control("rollback", 30, 1, since=30)]
    start, end = time_of(span[0]), time_of(span[1])
    kept = [one for one in SOURCED[30:60] if not start <= time_of(one) <= end]
    assert len(kept) < 25
    assert scores(after(log)) == learned_from([*SOURCED[:30], *kept])
    # The other way round, the rollback has relearned them.
    swapped: Log = [*log[:60], log[61], log[60]]
    assert scores(after(swapped)) == learned_from(SOURCED[:60])


def test_a_withdrawn_exclusion_is_learned_by_a_rollback_only() -> None:
    log: Log = [
        *SOURCED[:30],
        exclusion(1, *ENDS),
        *SOURCED[30:40],
        inclusion(1),
    ]
    assert scores(after([*log, *SOURCED[40:50]])) == learned_from(SOURCED[:30] + SOURCED[40:50])
    again: Log = [*log, control("rollback", 10, 1, since=10)]
    assert scores(after(again)) == learned_from(SOURCED[:40])


def test_relearning_leaves_out_a_paused_source_until_it_is_resumed() -> None:
    log: Log = [
        *SOURCED[:60],
        control("pause", source="bank"),
        control("rollback", 30, 1, since=30),
        *SOURCED[62:70],
    ]
    kept = [*SOURCED[:30], *without("bank", SOURCED[30:60] + SOURCED[62:70])]
    assert scores(after(log)) == learned_from(kept)
    # It is learned from the version on that the rollback selected.
    resumed: Log = [*log, control("resume", since=0, source="bank")]
    late = of_source("bank", SOURCED[30:60] + SOURCED[62:70])
    assert scores(after(resumed)) == learned_from([*kept, *late])


def test_a_rollback_to_a_version_of_the_pause_does_not_learn_twice() -> None:
    """The version has learned the source up to its pause, and another one less of it."""
    log: Log = [
        *SOURCED[:45],
        control("pause", source="bank"),
        *SOURCED[46:60],
        control("rollback", 20, 1, since=20),
        control("rollback", 60, 2),
        control("resume", since=0, source="bank"),
    ]
    expected = [*SOURCED[:45], *without("bank", SOURCED[46:60]), *of_source("bank", SOURCED[46:60])]
    assert scores(after(log)) == learned_from(expected)


def test_a_source_stays_paused_when_learning_as_a_whole_is_resumed() -> None:
    log: Log = [
        control("pause", source="bank"),
        *SOURCED[1:20],
        control("pause"),
        *SOURCED[21:40],
        control("resume", since=0),
    ]
    state = after(log)
    assert scores(state) == learned_from(without("bank", SOURCED[1:20] + SOURCED[21:40]))
    assert state.control.rules.paused_sources == ("bank",)


def test_nothing_is_relearned_while_learning_as_a_whole_is_paused() -> None:
    log: Log = [
        control("pause", source="bank"),
        *SOURCED[1:20],
        control("pause"),
        control("resume", since=0, source="bank"),
    ]
    assert scores(after(log)) == learned_from(without("bank", SOURCED[1:20]))


@pytest.mark.parametrize(
    "void",
    [
        control("pause", source="bank"),
        control("resume", since=0, source="shop"),
        exclusion(1, SOURCED[0], SOURCED[100]),
        inclusion(2),
    ],
)
def test_a_command_that_is_twice_in_the_log_counts_once(void: Control) -> None:
    log: Log = [
        *SOURCED[:10],
        control("pause", source="bank"),
        exclusion(1, SOURCED[5], SOURCED[6]),
        *SOURCED[12:30],
    ]
    assert content(after([*log, void, *SOURCED[31:40]])) == content(
        after([*log, control("pin", 1), *SOURCED[31:40]])
    )


def test_a_withdrawn_number_is_not_used_again() -> None:
    one = exclusion(1, SOURCED[0], SOURCED[100])
    assert after([one, inclusion(1), one]).control.rules.exclusions == ()


def test_an_example_that_fails_when_its_source_is_resumed_is_named() -> None:
    strange = replace(SOURCED[31], fingerprint="other")
    log: Log = [
        *SOURCED[:30],
        control("pause", source="bank"),
        strange,
        *SOURCED[32:39],
        replace(SOURCED[39], fingerprint="other"),
        control("resume", since=0, source="bank"),
    ]
    assert label_source(strange) == "bank"
    assert after(log).learned.unlearned == [[31, 32], [39, 40]]


@pytest.mark.parametrize(
    "changes",
    [{"exclusion": None}, {"start": None}, {"end": None}, {"end": "x"}, {"source": 3}],
)
def test_a_damaged_exclusion_is_no_command(changes: dict[str, object]) -> None:
    good = exclusion(1, SOURCED[0], SOURCED[1])
    assert decode_control(good.encode()) == good
    assert decode_control(good._replace(**changes).encode()) is None  # type: ignore[arg-type]
    assert decode_control(control("include").encode()) is None


class Oracle:
    """Examples that a model has learned, as the documentation defines them.

    Attributes:
        learned: offsets in the order of learning.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.learned: list[int] = []
        self.versions: dict[int, tuple[list[int], dict[str, int]]] = {0: ([], {})}
        self.paused = False
        self.sources: dict[str, int] = {}
        self.excluded: dict[int, tuple[int, int, str | None]] = {}
        self.decision = 0
        self.end = 0

    def run(self) -> "Oracle":
        for offset, record in enumerate(self.log):
            if isinstance(record, Control):
                self._command(offset, record)
            elif not self.paused and self._may_learn(record):
                self.learned.append(offset)
                self.end = offset + 1
            if offset % 10 == 9 and not self.paused:
                self.versions[offset + 1] = list(self.learned), dict(self.sources)
        return self

    def _may_learn(self, one: Example, resumed: str | None = None) -> bool:
        source = label_source(one)
        if source in self.sources and source != resumed:
            return False
        return not any(
            start <= one.label_time < end and of in (None, source)
            for start, end, of in self.excluded.values()
        )

    def _relearn(self, first: int, end: int, resumed: str | None = None) -> None:
        for offset in range(first, end):
            one = self.log[offset]
            if isinstance(one, Control) or (resumed and label_source(one) != resumed):
                continue
            if self._may_learn(one, resumed):
                self.learned.append(offset)
                self.end = max(self.end, offset + 1)

    def _command(self, offset: int, given: Control) -> None:
        source, since = given.source, given.since
        match given.command:
            case "pause" if source is None:
                self.paused = True
            case "pause" if source is not None:
                self.sources.setdefault(source, offset)
            case "resume" if source is None and self.paused:
                if since is not None:
                    self._relearn(max(since, self.end), offset)
                self.paused = False
            case "resume" if source in self.sources:
                if since is not None and not self.paused:
                    self._relearn(max(since, self.sources[source]), offset, source)
                del self.sources[source]
            case "exclude":
                made = given.new_exclusion
                assert made is not None
                self.excluded[made.number] = made.start, made.end, source
            case "include":
                self.excluded.pop(given.exclusion or 0, None)
            case "rollback" if given.decision > self.decision:
                assert given.version is not None
                self.decision = given.decision
                learned, floors = self.versions[given.version]
                self.learned, self.end = list(learned), given.version
                self.sources = {one: floors.get(one, self.end) for one in self.sources}
                if since is not None:
                    self._relearn(max(since, self.end), offset)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Draw examples of three sources with commands between them."""
    length = draw(st.integers(30, 90))
    log: list[Example | Control] = list(SOURCED[:length])
    offsets = draw(st.lists(st.integers(5, length - 1), max_size=10, unique=True))
    decision = numbers = 0
    for offset in sorted(offsets):
        kind = draw(st.sampled_from(["pause", "resume", "exclude", "include", "rollback"]))
        source = draw(st.sampled_from(SOURCES))
        since = draw(st.none() | st.integers(0, offset))
        if kind == "exclude":
            numbers += 1
            pair = draw(st.tuples(*[st.integers(0, length - 1)] * 2))
            log[offset] = exclusion(numbers, SOURCED[pair[0]], SOURCED[pair[1]], source)
        elif kind == "include":
            log[offset] = inclusion(draw(st.integers(1, numbers + 1)))
        elif kind == "rollback":
            known = [*Oracle(log[:offset]).run().versions]
            decision += 1
            log[offset] = control("rollback", draw(st.sampled_from(known)), decision, since)
        else:
            log[offset] = control(kind, since=since, source=source)  # type: ignore[arg-type]
    return log


@settings(deadline=None, max_examples=60)
@given(log=logs())
def test_the_model_equals_one_that_never_saw_what_the_rules_cover(log: Log) -> None:
    oracle, state = Oracle(log).run(), after(log)
    learned = [one for one in map(log.__getitem__, oracle.learned) if isinstance(one, Example)]
    assert scores(state) == learned_from(learned)
    assert state.learned.examples == len(oracle.learned)
    # Nothing is learned twice.
    assert len(set(oracle.learned)) == len(oracle.learned)
    assert state.evaluator.baseline.seen == sum(isinstance(one, Example) for one in log)


@settings(deadline=None, max_examples=40)
@given(log=logs(), data=st.data())
def test_a_crash_at_any_offset_changes_nothing(log: Log, data: st.DataObject) -> None:
    whole, run = whole_and_crashed(log, data)
    ours, theirs = run.learner.state, whole.learner.state
    assert content(ours) == content(theirs)
    assert (ours.not_learned, ours.learned.paused_from, ours.learned.unlearned) == (
        theirs.not_learned,
        theirs.learned.paused_from,
        theirs.learned.unlearned,
    )
