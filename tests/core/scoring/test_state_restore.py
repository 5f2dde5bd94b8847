"""The changelog restores the state in memory, at any transaction and after any compaction."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.compiled_core import COMPILED, core_state
from stream_app.core.examples import Example
from stream_app.core.scoring import partition_state
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.prediction_blocks import BlockLimits
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.records import Features, Fields, Output, Record
from stream_app.resilience import Retry, TransientError
from tests.small_pipeline import HOUR, NOW, event, label, record, small_pipeline

DAY = 24 * HOUR
RETRY = Retry(max_attempts=3, max_waiting=4)
LIMITS = BlockLimits(enough=4, least=2, bytes=400)
MAX_ENTRIES = 18
IDS = 30
# Keys of events; joined without escaping, some pairs of key and id would be the same.
KEYS = ["NL", "N/L", "N\\", "NL/e1"]
# Horizons in hours.
HORIZONS = [6, 12, 24, 72]
# Hours of event time that pass with each step, on average.
PACE = 0.5

Changelog = list[tuple[bytes | None, bytes | None]]


class Lookup:
    """External lookup of features, available or down."""

    down = False


class FixedModel:
    """Model that scores by amount."""

    name = "payments"
    version = 1

    def score(self, features: Features) -> float:
        return float(features["amount"]) / 100


def looked_up(fields: Fields) -> Features:
    """Return features that need the external lookup; they have other names for large amounts."""
    if Lookup.down:
        raise TransientError("no answer")
    return {"amount": fields["amount"], **({"large": True} if fields["amount"] > 9 else {})}


def compacted(changelog: Changelog, random: Random) -> Changelog:
    """Return a changelog as Kafka may compact it: superseded records, then tombstones, are gone."""
    newest = {key: at for at, (key, _) in enumerate(changelog)}
    kept: Changelog = []
    for at, (key, value) in enumerate(changelog):
        is_superseded = newest[key] > at
        is_alone = all(other != key for other, _ in kept)
        is_removable = is_superseded or (value is None and is_alone)
        if not (is_removable and random.random() < 0.7):
            kept.append((key, value))
    return kept


def view(state: PartitionState) -> dict[str, Any]:
    """Return everything that determines what a scorer does with a state."""
    draining = deepcopy(state)
    draining.clock.time = 2**60
    return {
        "removal": [(one, entry) for one, entry, _ in draining.pop_expired()],
        "left": draining.entries,
        "entries": {event_id: state.find(event_id) for event_id in state.entries},
        "compact": state.entries,
        "counts": state.counts,
        "clock": state.clock.as_dict(),
        "oldest": (state.forgotten_before, state.evicted_before, state.oldest_event),
        "positions": state.positions,
        "floor": state.blocks.floor,
        "blocks": (state.blocks.next_number, state.blocks.alive),
        "retries": {
            name: attempt._replace(due=0) for name, attempt in state.retries.waiting.items()
        },
    }


class ScoredPartition:
    """One partition: the scorer at work, and its committed changelog.

    The steps are chosen by a generator of random numbers instead of by hypothesis, which would try
    far fewer in the same time.
    """

    def __init__(self, random: Random) -> None:
        Lookup.down = False
        self.random = random
        # Few ids with several keys, or many ids.
        self.keyed = random.random() < 0.5
        self.ids = IDS // len(KEYS) if self.keyed else IDS
        changes: dict[str, Any] = {"key": "country"} if self.keyed else {}
        if random.random() < 0.5:
            changes["label"] = replace(small_pipeline().label, absent=False)
        self.pipeline = small_pipeline(features=looked_up, retry=RETRY, breaker=None, **changes)
        self.horizon, self.fingerprint = random.choice(HORIZONS), "a" * 16
        self.changelog: Changelog = []
        # Fingerprint that scored each event, by key and id.
        self.scored_by: dict[tuple[bytes | None, str], str] = {}
        self.committed_scored_by: dict[tuple[bytes | None, str], str] = {}
        self.hours = 0.0
        self.now = NOW + 600 * DAY
        self.start()
        self.commit()

    def restored(self, changelog: Changelog) -> PartitionState:
        state = PartitionState(0, self.horizon * HOUR, 6 * HOUR, RETRY, LIMITS, keyed=self.keyed)
        state.restore(changelog)
        return state

    def start(self) -> None:
        """Continue as a new owner, with everything from the changelog."""
        self.state = self.restored(self.changelog)
        config = ScorerConfig(
            fingerprint=self.fingerprint,
            group="g",
            app_version="1",
            max_bytes=100_000,
            max_entries=MAX_ENTRIES,
        )
        self.scorer = Scorer(self.pipeline, config, self.state, lambda: 0.0)
        self.open: list[Output] = []
        self.offset = self.state.positions.get("raw", 0)
        self.scored_by = dict(self.committed_scored_by)

    def step(self) -> None:
        """Take one random step."""
        steps = {
            self.score: 30,
            self.join: 20,
            self.expire: 10,
            self.commit: 10,
            self.compare: 10,
            self.compact: 4,
            self.retry: 4,
            self.crash: 3,
            self.change_lookup: 3,
            self.change_pipeline: 3,
        }
        self.hours += self.random.random() * 2 * PACE
        self.random.choices(list(steps), list(steps.values()))[0]()
        blocks = self.state.blocks
        assert all(last > blocks.floor for last in blocks.alive.values())

    def score(self) -> None:
        random, topic = self.random, "payments.raw"
        if random.random() < 0.2:
            topic = "payments.raw.replay"
        fields = [
            event(
                random.randrange(self.ids),
                self.time(),
                amount=float(random.randrange(20)),
                country=random.choice(KEYS),
            )
            for _ in range(random.randrange(9))
        ]
        batch = [self.sent(one, topic) for one in fields]
        self.take(self.scorer.score(batch, FixedModel(), self.now))

    def join(self) -> None:
        fields = [
            label(self.random.randrange(self.ids), self.time())
            for _ in range(self.random.randrange(6))
        ]
        batch = [self.sent(one, "payments.labels") for one in fields]
        self.take(self.scorer.join(batch, FixedModel(), self.now))

    def retry(self) -> None:
        self.now += 60_000
        self.take(self.scorer.retry(self.state.retries.due(self.now), FixedModel(), self.now))

    def change_lookup(self) -> None:
        Lookup.down = self.random.random() < 0.15

    def expire(self) -> None:
        clock, before = self.state.clock, dict(self.state.entries)
        if self.random.random() < 0.5:
            to = self.time() - self.random.randrange(8) * HOUR
            clock.events.promise(to)
            if self.random.random() < 0.5:
                clock.labels.promise(to)
        for one in (clock.events, clock.labels):
            one.idle_ms = clock.idle_after if self.random.random() < 0.5 else 0
        outputs = self.scorer.expire(FixedModel(), self.now)
        # An idle task commits if there is something to write.
        assert bool(outputs) == (before != self.state.entries)
        self.take(outputs)

    def commit(self) -> None:
        self.state.positions = {"raw": self.offset}
        outputs = [*self.open, *self.state.final_records()]
        self.changelog += [(one.key, one.value) for one in outputs if one.topic == "score.state"]
        self.open = []
        self.committed_scored_by = dict(self.scored_by)
        assert self.changelog[-1][0] == b"t"

    def compare(self) -> None:
        self.commit()
        for changelog in (self.changelog, compacted(self.changelog, self.random)):
            assert view(self.restored(changelog)) == view(self.state)

    def compact(self) -> None:
        self.changelog = compacted(self.changelog, self.random)

    def crash(self) -> None:
        self.start()

    def change_pipeline(self) -> None:
        """Continue as an owner with another horizon: nothing is lost, nothing comes back."""
        self.commit()
        before = {event_id: self.state.find(event_id) for event_id in self.state.entries}
        self.horizon, self.fingerprint = (
            self.random.choice(HORIZONS),
            self.random.choice("abc") * 16,
        )
        self.start()
        assert {event_id: self.state.find(event_id) for event_id in before} == before
        assert before.keys() == self.state.entries.keys()

    def time(self) -> int:
        """Return an event time near the present; some are the same, late or far ahead."""
        random = self.random
        hours = int(self.hours) - random.choice([0, 0, 0, 0, 1, 2, 3, 8, 20, 40])
        return NOW + HOUR * (hours + (400 if random.random() < 0.002 else 0))

    def sent(self, fields: Fields, topic: str) -> Record:
        self.offset += 1
        sent = record(fields, self.offset, topic=topic)
        if not self.keyed:
            return sent
        # A label does not have the field.
        return sent._replace(key=str(fields.get("country", self.random.choice(KEYS))).encode())

    def take(self, outputs: Sequence[Output]) -> None:
        """Keep outputs; check that each example carries the fingerprint of its prediction."""
        self.open += outputs
        for output in outputs:
            if output.topic == "scored":
                fields = orjson.loads(output.value or b"")
                self.scored_by[output.key, fields["event_id"]] = fields["fingerprint"]
            elif output.topic == "examples":
                example = Example.decode(output.value or b"")
                assert example.fingerprint == self.scored_by[output.key, example.event_id]


@pytest.fixture(scope="module", autouse=True)
def cleaned_early() -> Iterator[None]:
    """Let a restore drop what was removed before its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_state, "CLEANED_AFTER", 8)
        yield


@pytest.mark.skipif(
    core_state() == COMPILED,
    reason="copies states, which compiled ones do not allow: set STREAM_APP_CORE=interpreted",
)
@settings(max_examples=80)
@given(st.integers(0, 2**32), st.integers(50, 150))
def test_the_changelog_restores_the_state(seed: int, steps: int) -> None:
    partition = ScoredPartition(Random(seed))
    for _ in range(steps):
        partition.step()
    partition.compare()
