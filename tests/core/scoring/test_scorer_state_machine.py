"""Scorer under random sequences of steps: invariants hold after every step.

Events and labels are sent, repeated, malformed, late or early. They are processed, committed, lost
in a crash, or rejected. Dead letters are replayed, the lookup of the features is unavailable for a
while, and time passes. In any order, every record has exactly one outcome.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example, decode_example
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.retries import Attempt, RetryQueue
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.core.scoring.state_changelog import WaitingLabel
from stream_app.headers import REPLAY_LEARN, own_header_texts
from stream_app.records import Failure, Features, Fields, Output, Record
from stream_app.resilience import Fallback, Retry, TransientError
from tests.label_outcomes import label_counts, outcome_counts
from tests.small_pipeline import HOUR, NOW, event, label, record, small_pipeline

DAY = 24 * HOUR
SECOND = 1000
NUMBERS = st.integers(0, 5)  # of events
KEYS = ["N", "N/e0"]  # of events with the same id, if the key is not the id
AGES = st.integers(0, 40)  # hours
RETRY = Retry(max_attempts=3, max_waiting=4)
REPLAY = "payments.raw.replay"

Position = tuple[str, int]
"""Topic and offset."""


class Lookup:
    """External lookup of features, available or down."""

    down = False


class FixedModel:
    """Model that scores by amount, and raises for 13."""

    name = "payments"
    version = 1

    def score(self, features: Features) -> float:
        if features["amount"] == 13:
            raise ValueError("no")
        return float(features["amount"]) / 100


def looked_up(fields: Fields) -> Features:
    """Return features that need the external lookup."""
    if Lookup.down:
        raise TransientError("no answer")
    return {"amount": fields["amount"]}


class ScorerMachine(RuleBasedStateMachine):
    """One partition: its logs, its committed outputs, and the scorer that is at work."""

    def __init__(self) -> None:
        super().__init__()
        Lookup.down = False
        self.raw: list[Record] = []
        self.labels: list[Record] = []
        self.replay: list[Record] = []
        self.now = NOW
        self.committed: list[Output] = []  # all topics, in the order of their commits

    def start(self) -> None:
        """A new owner: everything from the changelog."""
        self.state = PartitionState(0, DAY, 6 * HOUR, RETRY, keyed=self.keyed)
        config = ScorerConfig(
            fingerprint="f" * 16, group="g", app_version="1", max_bytes=100_000, max_entries=4
        )
        self.scorer = Scorer(self.pipeline, config, self.state, lambda: 0.0)
        self.state.restore(
            (output.key, output.value) for output in self.committed if output.topic == "score.state"
        )
        positions = self.state.positions
        self.next_raw, self.next_label = positions.get("raw", 0), positions.get("labels", 0)
        self.next_replay = positions.get("replay", 0)
        self.open: list[Output] = []

    @initialize(
        fallback=st.sampled_from([None, Fallback(score=0.25)]),
        down=st.booleans(),
        absent=st.sampled_from([None, False]),
        keyed=st.booleans(),
    )
    def begin(
        self, fallback: Fallback | None, down: bool, absent: bool | None, keyed: bool
    ) -> None:
        Lookup.down, self.keyed = down, keyed
        self.pipeline = small_pipeline(
            features=looked_up,
            retry=RETRY,
            breaker=None,
            fallback=fallback,
            label=replace(small_pipeline().label, absent=absent),
            key="country" if keyed else None,
        )
        self.start()
        self.commit()

    @rule(
        events=st.lists(
            st.tuples(NUMBERS, AGES, st.sampled_from([1, 1, 13, "broken"])), min_size=1, max_size=5
        )
    )
    def send_events(self, events: list[tuple[int, int, int | str]]) -> None:
        for number, age, amount in events:
            number, key = self.named(number)
            country = (key or b"NL").decode()
            fields = event(number, self.now - age * HOUR, amount=amount, country=country)
            headers = (("traceparent", b"00-1-1"),)
            sent = record(fields, len(self.raw), key=key or "auto", headers=headers)
            self.raw.append(sent)

    @rule(
        labels=st.lists(
            st.tuples(NUMBERS, AGES, st.sampled_from([True, False, "broken"])),
            min_size=1,
            max_size=5,
        )
    )
    def send_labels(self, labels: list[tuple[int, int, bool | str]]) -> None:
        for number, age, fraud in labels:
            number, key = self.named(number)
            fields = {**label(number, self.now - age * HOUR), "fraud": fraud}
            topic = "payments.labels"
            self.labels.append(record(fields, len(self.labels), topic=topic, key=key or "auto"))

    def named(self, number: int) -> tuple[int, bytes | None]:
        """Return the id of an event as a number, and its key if that is not the id."""
        if not self.keyed:
            return number, None
        return number // len(KEYS), KEYS[number % len(KEYS)].encode()

    @precondition(lambda self: self.next_raw < len(self.raw))
    @rule(count=st.integers(1, 5))
    def score(self, count: int) -> None:
        batch = self.raw[self.next_raw : self.next_raw + count]
        self.open += self.scorer.score(batch, FixedModel(), self.now)
        self.next_raw += len(batch)

    @precondition(lambda self: self.next_label < len(self.labels))
    @rule(count=st.integers(1, 5))
    def join(self, count: int) -> None:
        batch = self.labels[self.next_label : self.next_label + count]
        self.open += self.scorer.join(batch, FixedModel(), self.now)
        self.next_label += len(batch)

    @precondition(lambda self: any(output.topic == "raw.dlq" for output in self.committed))
    @rule(data=st.data())
    def replay_a_dead_letter(self, data: st.DataObject) -> None:
        """Replay a dead letter, perhaps not for the first time."""
        letters = [output for output in self.committed if output.topic == "raw.dlq"]
        letter = data.draw(st.sampled_from(letters))
        at = len(self.replay)
        headers = list(letter.headers)
        if data.draw(st.booleans()):
            headers.append((REPLAY_LEARN, b"no"))
        self.replay.append(
            Record(REPLAY, 0, at, self.now, letter.key, letter.value, tuple(headers))
        )

    @precondition(lambda self: self.next_replay < len(self.replay))
    @rule()
    def score_replayed_events(self) -> None:
        self.open += self.scorer.score(self.replay[self.next_replay :], FixedModel(), self.now)
        self.next_replay = len(self.replay)

    @precondition(lambda self: self.next_raw < len(self.raw))
    @rule()
    def quarantine(self) -> None:
        self.reject(self.raw[self.next_raw])
        self.next_raw += 1

    @precondition(lambda self: self.next_label < len(self.labels))
    @rule()
    def quarantine_a_label(self) -> None:
        self.reject(self.labels[self.next_label], label=True)
        self.next_label += 1

    @precondition(lambda self: self.state.retries.waiting)
    @rule(seconds=st.sampled_from([0, 1, 5]), most=st.sampled_from([1, 2, None]))
    def retry(self, seconds: int, most: int | None = None) -> None:
        self.now += seconds * SECOND
        due = self.state.retries.due(self.now, most)
        assert all(
            attempt.due <= self.now
            for attempt in map(self.state.retries.last_attempt, due)
            if attempt
        )
        self.open += self.scorer.retry(due, FixedModel(), self.now)

    @precondition(lambda self: self.state.retries.waiting)
    @rule()
    def quarantine_a_waiting_event(self) -> None:
        self.reject(next(iter(self.state.retries.waiting.values())).record)

    @precondition(lambda self: self.state.retries.waiting)
    @rule()
    def postpone(self) -> None:
        self.state.retries.postpone(self.state.retries.due(self.now, 1), self.now)

    def reject(self, poison: Record, *, label: bool = False) -> None:
        self.open += self.scorer.reject(
            poison, Failure("record-crashes", ""), FixedModel(), self.now, label=label
        )

    @rule(age=AGES, idle=st.booleans(), complete=st.booleans())
    def expire(self, age: int, idle: bool, complete: bool) -> None:
        """Let event time pass: inputs are idle, or completeness records move them."""
        clock, until = self.state.clock, self.now - age * HOUR
        clock.events.promise(until)
        if complete:
            clock.labels.promise(until)
        clock.labels.idle_ms = clock.idle_after if idle else 0
        self.open += self.scorer.expire(FixedModel(), self.now)

    @rule()
    def commit(self) -> None:
        self.state.positions = {
            "raw": self.next_raw,
            "labels": self.next_label,
            "replay": self.next_replay,
        }
        self.committed += [*self.open, *self.state.final_records()]
        self.open = []

    @rule()
    def crash(self) -> None:
        self.start()

    @rule(seconds=st.sampled_from([1, 5, 60, 3600, 12 * 3600, 48 * 3600]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(down=st.booleans())
    def change_lookup(self, down: bool) -> None:
        Lookup.down = down

    @invariant()
    def every_record_has_one_outcome(self) -> None:
        outputs, counts = self.committed + self.open, self.state.counts
        assert counts.events == self.next_raw + self.next_replay
        assert counts.labels == self.next_label
        assert counts.scored == counts.closed_or_pending
        assert counts.retrying == len(self.state.retries) <= RETRY.max_waiting
        assert (self.state.retries.bytes > 0) == (counts.retrying > 0)
        assert Counter(code(one) for one in outputs if one.topic == "raw.dlq") == +counts.dead
        assert (
            Counter(code(one) for one in outputs if one.topic == "labels.dlq") == +counts.label_dead
        )
        scored = [orjson.loads(one.value or b"") for one in outputs if one.topic == "scored"]
        assert len(scored) == counts.scored
        assert sum(one["degraded"] is not None for one in scored) == counts.degraded

    @invariant()
    def no_record_has_two_outcomes(self) -> None:
        scored = [
            source(output) for output in self.committed + self.open if output.topic == "scored"
        ]
        dead = [
            original(output) for output in self.committed + self.open if output.topic == "raw.dlq"
        ]
        waiting = [position(attempt.record) for attempt in self.state.retries.waiting.values()]
        assert max(Counter(scored + dead + waiting).values(), default=1) == 1
        assert max(Counter(map(original, self.of("labels.dlq"))).values(), default=1) == 1

    @invariant()
    def each_label_has_one_published_outcome_or_waits(self) -> None:
        outputs = self.of("label_outcomes")
        outcomes = [orjson.loads(one.value or b"") for one in outputs]
        assert outcome_counts(outcomes) == label_counts(self.state.counts)
        offsets = [one["offset"] for one in outcomes]
        entries = map(self.state.find, self.state.entries)
        waiting = [one.record.offset for one in entries if isinstance(one, WaitingLabel)]
        completeness = self.state.counts.label_completeness
        assert len(offsets) + completeness + len(waiting) == self.next_label
        assert len({*offsets, *waiting}) == len(offsets) + len(waiting)
        for output, outcome in zip(outputs, outcomes, strict=True):
            sent = self.labels[outcome["offset"]]
            assert output.key == sent.key
            fields = orjson.loads(sent.value or b"{}")
            if outcome["event_id"] is not None:
                assert (outcome["event_id"], outcome["label"]) == (fields["id"], fields["fraud"])
            elif outcome["outcome"] != "dead-lettered":
                raise AssertionError(outcome)

    @invariant()
    def no_event_is_scored_or_learned_twice(self) -> None:
        """Two events have the same id only if their keys differ, or one of them is forgotten.

        A forgotten one is older than all that may be scored.
        """
        for topic in ("scored", "examples"):
            values = [(one.key, orjson.loads(one.value or b"")) for one in self.of(topic)]
            found = Counter((key, one["event_id"], one["event_time"]) for key, one in values)
            assert max(found.values(), default=1) == 1

    @invariant()
    def waiting_events_are_unchanged(self) -> None:
        logs = {"payments.raw": self.raw, REPLAY: self.replay}
        for attempt in self.state.retries.waiting.values():
            assert attempt.record == logs[attempt.record.topic][attempt.record.offset]
            assert 0 < attempt.number < RETRY.max_attempts

    @invariant()
    def an_example_is_an_event_with_its_label(self) -> None:
        sent = {
            (one.key, orjson.loads(one.value or b"")["id"], orjson.loads(one.value or b"")["fraud"])
            for one in self.labels
        }
        outputs = self.of("examples")
        examples = [decode_example(output.value, BinaryTask()) for output in outputs]
        assert len(examples) == self.state.counts.examples
        assumed = [one for one in examples if isinstance(one, Example) and one.assumed]
        assert len(assumed) == self.state.counts.assumed
        for output, example in zip(outputs, examples, strict=True):
            assert isinstance(example, Example)
            if example.assumed:
                assert example.label is self.pipeline.label.absent
                continue
            assert (output.key, example.event_id, example.label) in sent
            assert example.label_time <= example.event_time + DAY

    @rule()
    def restart(self) -> None:
        """Restore the committed state, which must be the same."""
        self.commit()
        state = self.state
        self.start()
        assert self.state.entries == state.entries
        assert self.state.counts == state.counts
        assert _without_times(self.state.retries) == _without_times(state.retries)
        assert self.state.retries.bytes == state.retries.bytes

    def of(self, topic: str) -> list[Output]:
        return [output for output in self.committed + self.open if output.topic == topic]

    def teardown(self) -> None:
        """After enough time no event waits for a retry."""
        Lookup.down = len(self.labels) % 2 == 0
        if len(self.raw) % 2:
            self.restart()
        if self.next_raw < len(self.raw):
            self.score(len(self.raw))
        for _ in range(RETRY.max_attempts):
            self.retry(120)
        assert self.state.counts.retrying == 0


def _without_times(retries: RetryQueue) -> dict[str, Attempt]:
    """Return the waiting attempts without their times: a restored queue forgets postponements."""
    return {name: attempt._replace(due=0) for name, attempt in retries.waiting.items()}


def code(output: Output) -> str:
    return own_header_texts(output.headers)["stream-app-error-code"]


def original(output: Output) -> Position:
    headers = own_header_texts(output.headers)
    return headers["stream-app-original-topic"], int(headers["stream-app-original-offset"])


def source(output: Output) -> Position:
    content: dict[str, Any] = orjson.loads(output.value or b"")
    return content["source"]["topic"], content["source"]["offset"]


def position(record: Record) -> Position:
    return record.topic, record.offset


ScorerMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestScorer = ScorerMachine.TestCase
