"""A scorer under everything that can happen to it, step by step, against a plain account of what must hold.

Events and labels are written, repeated, broken, late or early; they are processed, committed or lost in a crash; what
the features need is away for a while; time passes. Whatever the order, every record has exactly one outcome.
"""

from collections import Counter
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream_app.core.example import Example
from stream_app.core.examples import decode_example
from stream_app.core.records import Features, Fields, Output, RawRecord
from stream_app.core.score import Scorer
from stream_app.core.state import State
from stream_app.resilience import Retry, TransientError
from tests.small import HOUR, NOW, event, label, record, small_pipeline

DAY = 24 * HOUR
SECOND = 1000
IDS = 6
RETRY = Retry(attempts=3, waiting=4)


class World:
    """What lies outside of the scorer: does it answer?"""

    down = False


class FixedModel:
    """Scores by amount; raises for 13."""

    name = "payments"
    version = 1

    def score(self, features: Features) -> float:
        if features["amount"] == 13:
            raise ValueError("no")
        return float(features["amount"]) / 100


def looked_up(fields: Fields) -> Features:
    """Features that need something outside."""
    if World.down:
        raise TransientError("no answer")
    return {"amount": fields["amount"]}


class ScorerMachine(RuleBasedStateMachine):
    """One partition: its logs, its committed outputs, and the scorer that is at work."""

    def __init__(self) -> None:
        super().__init__()
        World.down = False
        self.raw: list[RawRecord] = []
        self.labels: list[RawRecord] = []
        self.now = NOW
        self.committed: list[Output] = []  # all topics, in the order of their commits
        self.pipeline = small_pipeline(features=looked_up, retry=RETRY, breaker=None)
        self.start()

    def start(self) -> None:
        """A new owner: everything from the changelog."""
        self.state = State(0, DAY, 6 * HOUR, RETRY)
        self.scorer = Scorer(
            self.pipeline,
            "f" * 16,
            self.state,
            group="g",
            app_version="1",
            max_bytes=100_000,
            max_entries=4,
            clock=lambda: 0.0,
        )
        self.state.restore((output.key, output.value) for output in self.committed if output.topic == "score.state")
        positions = self.state.positions
        self.next_raw, self.next_label = positions.get("raw", 0), positions.get("labels", 0)
        self.open: list[Output] = []

    @initialize()
    def begin(self) -> None:
        self.commit()

    @rule(number=st.integers(0, IDS - 1), age=st.integers(0, 40), amount=st.sampled_from([1, 13, "broken"]))
    def send_event(self, number: int, age: int, amount: int | str) -> None:
        fields = event(number, self.now - age * HOUR, amount=amount)
        self.raw.append(record(fields, len(self.raw)))

    @rule(number=st.integers(0, IDS - 1), age=st.integers(0, 40), fraud=st.sampled_from([True, False, "broken"]))
    def send_label(self, number: int, age: int, fraud: bool | str) -> None:
        fields = {**label(number, self.now - age * HOUR), "fraud": fraud}
        self.labels.append(record(fields, len(self.labels), topic="payments.labels"))

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

    @rule()
    def try_again(self) -> None:
        self.open += self.scorer.retry(self.state.retries.due(self.now), FixedModel(), self.now)

    @rule(at_end=st.booleans())
    def expire(self, at_end: bool) -> None:
        self.open += self.scorer.expire(FixedModel(), self.now, labels_at_end=at_end)

    @rule()
    def commit(self) -> None:
        self.state.positions = {"raw": self.next_raw, "labels": self.next_label}
        self.committed += [*self.open, self.state.checkpoint()]
        self.open = []

    @rule()
    def crash(self) -> None:
        self.start()

    @rule(seconds=st.sampled_from([1, 5, 60, 3600, 12 * 3600, 48 * 3600]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(down=st.booleans())
    def outside(self, down: bool) -> None:
        World.down = down

    @invariant()
    def every_record_has_one_outcome(self) -> None:
        outputs, tallies = self.committed + self.open, self.state.tallies
        assert tallies.events == self.next_raw
        assert tallies.labels == self.next_label
        assert tallies.scored == tallies.joined + tallies.expired + tallies.pending
        assert tallies.retrying == len(self.state.retries) <= RETRY.waiting
        assert Counter(code(one) for one in outputs if one.topic == "raw.dlq") == +tallies.dead
        assert Counter(code(one) for one in outputs if one.topic == "labels.dlq") == +tallies.label_dead
        assert sum(one.topic == "scored" for one in outputs) == tallies.scored

    @invariant()
    def no_offset_has_two(self) -> None:
        scored = [source(output) for output in self.committed + self.open if output.topic == "scored"]
        dead = [original(output) for output in self.committed + self.open if output.topic == "raw.dlq"]
        waiting = [attempt.record.offset for attempt in self.state.retries.waiting.values()]
        assert max(Counter(scored + dead + waiting).values(), default=1) == 1
        assert max(Counter(map(original, self.of("labels.dlq"))).values(), default=1) == 1

    @invariant()
    def an_example_is_an_event_with_its_label(self) -> None:
        sent = {(orjson.loads(one.value or b"")["id"], orjson.loads(one.value or b"")["fraud"]) for one in self.labels}
        examples = [decode_example(output.value) for output in self.of("examples")]
        assert len(examples) == self.state.tallies.joined
        for example in examples:
            assert isinstance(example, Example)
            assert (example.event_id, example.label) in sent
            assert example.label_time <= example.event_time + DAY

    @rule()
    def restart(self) -> None:
        """After a commit, whoever goes on knows the same."""
        self.commit()
        state = self.state
        self.start()
        assert self.state.entries == state.entries
        assert self.state.tallies == state.tallies
        assert self.state.retries.waiting == state.retries.waiting

    def of(self, topic: str) -> list[Output]:
        return [output for output in self.committed + self.open if output.topic == topic]

    def teardown(self) -> None:
        """With the world up again and time enough, nothing waits any more but what has its outcome."""
        World.down = False
        self.score_all()
        for _ in range(RETRY.attempts):
            self.now += 120 * SECOND
            self.try_again()
        assert self.state.tallies.retrying == 0

    def score_all(self) -> None:
        if self.next_raw < len(self.raw):
            self.score(len(self.raw))


def code(output: Output) -> str:
    return dict(output.headers)["error-code"].decode()


def original(output: Output) -> int:
    return int(dict(output.headers)["original-offset"])


def source(output: Output) -> int:
    content: dict[str, Any] = orjson.loads(output.value or b"")
    return int(content["source"]["offset"])


ScorerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestScorer = ScorerMachine.TestCase
