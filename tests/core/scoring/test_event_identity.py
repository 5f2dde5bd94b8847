"""The identity of an event is (K, event id): the same id with another key is another event."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.reading.identity import event_identity
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.core.scoring.state_changelog import IdentityChangedError
from stream_app.headers import own_header_texts
from stream_app.pipeline import Pipeline
from stream_app.records import Features, Output, Record
from stream_app.resilience import Retry, TransientError
from tests.small_pipeline import HOUR, NOW, event, label, record, small_pipeline

DAY = 24 * HOUR
RETRY = Retry(max_attempts=3)
# Pairs of key and id that would be the same if they were joined without escaping.
KEYS = ["a", "a/b", "a\\", "a\\/b", "é"]
IDS = ["e1", "b/e1", "/e1", "e1\\"]


class FixedModel:
    """Model that scores by amount."""

    name = "payments"
    version = 1

    def score(self, features: Features) -> float:
        return float(features["amount"]) / 100


class Partition:
    """One partition: a scorer, what it has written, and its changelog."""

    def __init__(self, pipeline: Pipeline, *, keyed: bool, max_entries: int = 1000) -> None:
        self.pipeline, self.keyed, self.max_entries = pipeline, keyed, max_entries
        self.outputs: list[Output] = []
        self.start()

    def start(self) -> None:
        """Continue as a new owner, with everything from the changelog."""
        self.state = PartitionState(0, DAY, 6 * HOUR, RETRY, keyed=self.keyed)
        self.state.restore((one.key, one.value) for one in self.of("score.state"))
        config = ScorerConfig(
            fingerprint="f" * 16,
            group="g",
            app_version="1",
            max_bytes=100_000,
            max_entries=self.max_entries,
        )
        self.scorer = Scorer(self.pipeline, config, self.state, lambda: 0.0)

    def score(self, *records: Record) -> None:
        self.outputs += self.scorer.score(records, FixedModel(), NOW)

    def join(self, *records: Record) -> None:
        self.outputs += self.scorer.join(records, FixedModel(), NOW)

    def restart(self) -> None:
        self.outputs += self.state.final_records()
        self.start()

    def close(self, until: int) -> None:
        """Let event time pass, proven by labels."""
        self.state.clock.events.promise(until)
        self.state.clock.labels.promise(until)
        self.outputs += self.scorer.expire(FixedModel(), NOW)

    def of(self, topic: str) -> list[Output]:
        return [output for output in self.outputs if output.topic == topic]

    def values(self, topic: str) -> list[tuple[str, dict[str, Any]]]:
        """Return keys and values of JSON records."""
        return [
            ((one.key or b"").decode(), orjson.loads(one.value or b"")) for one in self.of(topic)
        ]


def by_country(**changes: Any) -> Partition:
    """Return a partition of a pipeline whose labels do not have the field of the key."""
    return Partition(small_pipeline(key="country", breaker=None, **changes), keyed=True)


def sent(key: str, event_id: str, offset: int = 0, **changes: Any) -> Record:
    fields = event(0, **{"id": event_id, "country": key, **changes})
    return record(fields, offset, key=key.encode())


def sent_label(key: str, event_id: str, offset: int = 0, **changes: Any) -> Record:
    fields = label(0, **{"id": event_id, **changes})
    return record(fields, offset, topic="payments.labels", key=key.encode())


@pytest.mark.parametrize("restarts", [False, True])
def test_the_same_id_with_two_keys_is_two_events_each_with_its_label(restarts: bool) -> None:
    partition = by_country()
    pairs = [(key, event_id) for key in KEYS for event_id in IDS]
    for number, pair in enumerate(pairs):
        partition.score(sent(*pair, number, amount=float(number)))
    if restarts:
        partition.restart()
    partition.score(*(sent(*pair, 100) for pair in pairs))
    assert [(key, value["event_id"]) for key, value in partition.values("scored")] == pairs
    assert partition.state.counts.duplicates == len(pairs)
    if restarts:
        partition.restart()
    for number, pair in enumerate(pairs):
        partition.join(sent_label(*pair, number, fraud=number % 2 == 0))
    if restarts:
        partition.restart()
    partition.join(*(sent_label(*pair, 100, fraud=True) for pair in pairs))
    found = [
        (key, one["event_id"], one["score"], one["label"])
        for key, one in partition.values("examples")
    ]
    assert found == [(*pair, number / 100, number % 2 == 0) for number, pair in enumerate(pairs)]
    assert partition.state.counts.label_duplicates == len(pairs)


def test_a_label_waits_for_the_event_of_its_own_key() -> None:
    partition = by_country()
    partition.join(sent_label("a", "e1", fraud=True))
    partition.restart()
    partition.score(sent("b", "e1"))
    assert (partition.state.counts.waiting, partition.values("examples")) == (1, [])
    partition.score(sent("a", "e1", 1))
    (found,) = partition.values("examples")
    assert (found[0], found[1]["event_id"], found[1]["label"]) == ("a", "e1", True)
    assert (partition.state.counts.waiting, partition.state.counts.pending) == (0, 1)


def test_an_assumed_label_is_that_of_one_key() -> None:
    partition = by_country(label=replace(small_pipeline().label, absent=False))
    partition.score(sent("a/b", "e1"), sent("a", "b/e1", 1))
    partition.join(sent_label("a", "b/e1", fraud=True))
    partition.close(NOW + 2 * DAY)
    found = [(key, one["event_id"], one["assumed"]) for key, one in partition.values("examples")]
    assert found == [("a", "b/e1", False), ("a/b", "e1", True)]
    partition.restart()
    partition.join(sent_label("a/b", "e1", 1, fraud=True))
    assert partition.state.counts.contradicting == 1


def test_a_retry_and_a_replay_are_those_of_one_key() -> None:
    down = True

    def looked_up(fields: dict[str, Any]) -> Features:
        if down:
            raise TransientError("no answer")
        return {"amount": fields["amount"]}

    partition = by_country(features=looked_up, retry=RETRY)
    partition.score(sent("a", "e1"), sent("b", "e1", 1, amount="broken"))
    down = False
    partition.score(sent("c", "e1", 2))
    partition.restart()
    later = NOW + HOUR
    due = partition.state.retries.due(later)
    partition.outputs += partition.scorer.retry(due, FixedModel(), later)
    (dead,) = partition.of("raw.dlq")
    replayed = sent("b", "e1", 0)._replace(topic="payments.raw.replay", headers=tuple(dead.headers))
    partition.score(replayed, replayed)
    assert [key for key, _ in partition.values("scored")] == ["c", "a", "b"]
    assert partition.state.counts.duplicates == 1


@pytest.mark.parametrize(
    ("key", "code"), [(b"\xff", "key-mismatch"), (b"", "missing-key"), (None, "missing-key")]
)
def test_a_label_whose_key_is_no_text_is_a_dead_letter(key: bytes | None, code: str) -> None:
    partition = by_country()
    partition.join(sent_label("a", "e1")._replace(key=key))
    (dead,) = partition.of("labels.dlq")
    assert own_header_texts(dead.headers)["stream-app-error-code"] == code
    assert (dead.key, partition.state.entries) == (key, {})


@pytest.mark.parametrize("keyed", [False, True])
def test_a_state_is_not_read_with_another_key(keyed: bool) -> None:
    written = PartitionState(0, DAY, HOUR, keyed=not keyed).final_records()
    with pytest.raises(IdentityChangedError):
        PartitionState(0, DAY, HOUR, keyed=keyed).restore((one.key, one.value) for one in written)


# --- An identity does what an id that is unique would do ------------------------------------------


def _ranked(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return an id for each pair; they have the order of the identities."""
    ordered = sorted(pairs, key=lambda pair: event_identity(*pair))
    return {pair: f"{rank:03}" for rank, pair in enumerate(ordered)}


def _outcomes(
    outputs: Sequence[Output], names: dict[tuple[str, str], str] | None
) -> Counter[tuple[str, Any]]:
    """Return what was written about which event, by unique id."""
    found: Counter[tuple[str, Any]] = Counter()
    for output in outputs:
        if output.topic.endswith(".dlq"):
            texts = own_header_texts(output.headers)
            place = texts["stream-app-original-topic"], texts["stream-app-original-offset"]
            found[output.topic, (texts["stream-app-error-code"], place)] += 1
        elif output.topic in ("scored", "examples", "label_outcomes"):
            value = orjson.loads(output.value or b"")
            if names is not None and value["event_id"] is not None:
                value["event_id"] = names[(output.key or b"").decode(), value["event_id"]]
            value["features"] = None
            found[output.topic, orjson.dumps(value)] += 1
    return found


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), absent=st.sampled_from([None, False]))
def test_key_and_id_do_what_a_unique_id_does(seed: int, absent: bool | None) -> None:
    random = Random(seed)
    names = _ranked((key, event_id) for key in KEYS for event_id in IDS)
    changes: dict[str, Any] = {
        "breaker": None,
        "label": replace(small_pipeline().label, absent=absent),
    }
    keyed = Partition(small_pipeline(key="country", **changes), keyed=True, max_entries=8)
    plain = Partition(small_pipeline(**changes), keyed=False, max_entries=8)
    for step in range(80):
        (key, event_id), name = random.choice(list(names.items()))
        at = NOW - DAY + (step // 4 - random.choice([0, 0, 0, 1, 5, 40])) * HOUR
        amount = random.choice([1.0, 2.0, "broken"])
        match random.choice(["event", "event", "event", "label", "label", "close", "restart"]):
            case "event":
                keyed.score(sent(key, event_id, step, at=at, amount=amount))
                plain.score(
                    record(event(0, at, id=name, country=key, amount=amount), step, key=name)
                )
            case "label":
                fraud = random.random() < 0.5
                keyed.join(sent_label(key, event_id, step, known_at=at, fraud=fraud))
                topic = "payments.labels"
                plain.join(record(label(0, at, fraud, id=name), step, topic=topic))
            case "close":
                keyed.close(at - 12 * HOUR)
                plain.close(at - 12 * HOUR)
            case _:
                keyed.restart()
                plain.restart()
        assert _outcomes(keyed.outputs, names) == _outcomes(plain.outputs, None)
        assert keyed.state.counts == plain.state.counts
        entries = {event_identity(*pair): name for pair, name in names.items()}
        assert {entries[one] for one in keyed.state.entries} == set(plain.state.entries)
