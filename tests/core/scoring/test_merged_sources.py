"""Inputs that are merged from parts of sources, which completeness records describe."""

from collections.abc import Iterator
from math import ceil
from typing import Any

import orjson
import pytest

from stream_app.core.reading.completeness import MAX_PARTS, Completeness
from stream_app.core.reading.robust_watermark import RobustWatermark
from stream_app.core.scoring.event_clock import EventClock
from stream_app.core.scoring.source_watermarks import MAX_SOURCES
from stream_app.headers import COMPLETENESS, own_header_texts
from stream_app.records import Failure, Record
from tests.core.scoring.label_streams import (
    START,
    YEAR,
    Chunk,
    FixedModel,
    LabelledPartition,
    completeness,
    in_turns,
    one_after_another,
)
from tests.small_pipeline import HOUR, NOW, event, label, record

SIZES = [20_000, pytest.param(100_000, marks=pytest.mark.faults)]
# Number of turns in which one part alone would give all records.
TURNS = 33


class MergedInput:
    """Input that is merged from parts of sources, read in turns, as the role `ingest` will do.

    Args:
        kind: kind of the topic.
        sources: number of parts by source.
        records: records in order, each of which is put into the next part.
    """

    def __init__(self, kind: str, sources: dict[str, int], records: list[Record]) -> None:
        self._kind = kind
        self._sources = sources
        self._turn = len(records) // TURNS
        parts = [(name, number) for name, count in sources.items() for number in range(count)]
        self._logs = {part: records[at :: len(parts)] for at, part in enumerate(parts)}
        self._watermarks = {part: RobustWatermark(4) for part in parts}

    def __iter__(self) -> Iterator[Chunk]:
        yield self._kind, [self._statement(part, "open") for part in self._logs]
        while any(self._logs.values()):
            for part, log in self._logs.items():
                taken, self._logs[part] = log[: self._turn], log[self._turn :]
                name = "at" if self._kind == "raw" else "known_at"
                self._watermarks[part].times += [
                    orjson.loads(one.value or b"")[name] for one in taken
                ]
                state = "open" if self._logs[part] else "idle"
                yield self._kind, [*taken, self._statement(part, state)]

    def _statement(self, part: tuple[str, int], state: Any) -> Record:
        watermark = self._watermarks[part].advance()
        until = watermark if watermark > -(10**15) else None
        name, number = part
        found = Completeness(name, until, number, self._sources[name], state)
        return completeness(found, f"payments.{self._kind}")


ORDERS: dict[str, Any] = {
    "events first": one_after_another,
    "labels first": lambda raw, known: one_after_another(known, raw),
    "interleaved": in_turns,
}


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_back_fill_from_ten_and_three_partitions_gives_all_examples(
    order: str, count: int
) -> None:
    pace = YEAR // count
    raw = [record(event(n, START + n * pace), n) for n in range(count)]
    known = [
        record(label(n, START + n * pace + HOUR * (n % 20)), n, topic="payments.labels")
        for n in range(count)
    ]
    known.sort(key=lambda one: orjson.loads(one.value or b"")["known_at"])
    partition = LabelledPartition(20)
    partition.read(
        ORDERS[order](
            MergedInput("raw", {"a": 6, "b": 4}, raw), MergedInput("labels", {"c": 3}, known)
        )
    )
    counts = partition.counts
    assert (counts.scored, counts.joined, len(partition.examples)) == (count, count, count)
    assert (counts.dead.total(), counts.label_dead.total(), counts.label_expired) == (0, 0, 0)
    assert counts.completeness == 10 + 10 * ceil(count / 10 / (count // TURNS))
    assert counts.events == count + counts.completeness


def clock_of(*statements: Completeness) -> EventClock:
    clock = EventClock(HOUR)
    clock.labels.own.times += [900] * 9
    for one in statements:
        assert clock.labels.sources.set(one)
    clock.labels.advance()
    return clock


def part(number: int, until: int | None, state: Any = "open", source: str = "s") -> Completeness:
    return Completeness(source, until, number, 2, state)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], 900),
        ([part(0, None)], None),
        ([part(0, 100)], None),
        ([part(0, 100), part(1, 50)], 50),
        ([part(0, 100), part(1, 50, "idle")], 100),
        ([part(0, 100), part(1, 50, "complete")], 100),
        ([part(0, 100), part(1, 200), part(0, 70, source="t"), part(1, 80, source="t")], 70),
        ([part(0, 100, "complete"), part(1, 2000, "complete")], 900),
        ([part(0, 1000, "complete"), part(1, 2000, "complete")], 1000),
        ([part(0, 1000, "complete")], 900),
        ([Completeness("", 5000)], 5000),
        ([part(0, 100), part(1, 50), Completeness("", 70)], 70),
        ([part(0, 100), part(1, 50), part(1, 40)], 50),
        ([part(0, 100), part(1, 50), Completeness("s", 5000)], 5000),
        ([Completeness("f", 3000), Completeness("g", 2000)], 2000),
    ],
)
def test_the_watermark_of_an_input_follows_its_parts(
    statements: list[Completeness], expected: int | None
) -> None:
    watermark = clock_of(*statements).labels.watermark
    assert watermark == expected or (expected is None and watermark < 0)


def test_the_clock_names_the_part_that_holds_it_back() -> None:
    clock = clock_of(part(0, 100), part(1, 50))
    clock.events.promise(1000)
    clock.advance(NOW)
    assert clock.holder() == ("labels", "s", 1, 50)
    clock.labels.idle_ms = HOUR
    holder = clock.holder()
    assert holder is not None
    assert holder.input == "events"


VALID = Completeness("s", 1, 0, 2, "open")._asdict()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        None,
        b"{",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b"x" * 5000,
        *(
            orjson.dumps({**VALID, **wrong})
            for wrong in (
                {"more": 1},
                {"source": 7},
                {"source": "x" * 201},
                {"source": ""},
                {"part": 2},
                {"part": -1},
                {"part": True},
                {"parts": 0},
                {"parts": MAX_PARTS + 1},
                {"parts": "2"},
                {"state": "done"},
                {"state": ["open"]},
                {"until": "now"},
                {"until": 1.5},
                {"until": 2**62},
                {"until": NOW + 25 * HOUR},
                {"until": None, "state": "complete"},
            )
        ),
    ],
)
@pytest.mark.parametrize("kind", ["raw", "labels"])
def test_a_garbled_completeness_record_is_a_dead_letter_and_nothing_else(
    content: bytes | None, kind: str
) -> None:
    partition = LabelledPartition()
    before = partition.state.clock.as_dict()
    sent = Record(f"payments.{kind}", 0, 5, NOW, None, None, ((COMPLETENESS, content),))
    scorer = partition.scorer
    process = scorer.score if kind == "raw" else scorer.join
    dead, *outcomes = process([sent], FixedModel(), NOW)
    assert [one.topic for one in outcomes] == ([] if kind == "raw" else ["label_outcomes"])
    assert dead.topic == f"{kind}.dlq"
    assert own_header_texts(dead.headers)["stream-app-error-code"] == "completeness-invalid"
    assert partition.state.clock.as_dict() == before
    counts = partition.counts
    assert (counts.events, counts.labels) == ((1, 0) if kind == "raw" else (0, 1))
    assert counts.completeness + counts.label_completeness == 0


def test_the_header_on_a_record_with_a_value_is_ignored() -> None:
    headers = Completeness("s", NOW).headers()
    partition = LabelledPartition()
    partition.read([("labels", [record(label(1), topic="payments.labels", headers=headers)])])
    assert (partition.counts.waiting, partition.counts.label_completeness) == (1, 0)


def test_replayed_events_cannot_be_completeness_records() -> None:
    sent = completeness(Completeness("s", NOW), "payments.raw.replay")
    partition = LabelledPartition()
    partition.read([("raw", [sent])])
    assert partition.counts.dead == {"empty-value": 1}


def test_there_are_at_most_so_many_sources() -> None:
    partition = LabelledPartition()
    for number in range(MAX_SOURCES + 1):
        partition.read([("labels", [completeness(Completeness(f"s{number}", 1))])])
    counts = partition.counts
    assert (counts.label_completeness, counts.label_dead) == (
        MAX_SOURCES,
        {"completeness-invalid": 1},
    )


def test_a_time_ahead_counts_as_now() -> None:
    partition = LabelledPartition()
    partition.read([("labels", [completeness(Completeness("", NOW + HOUR))])])
    assert partition.state.clock.labels.watermark == NOW


def test_a_statement_survives_a_restart() -> None:
    partition = LabelledPartition()
    partition.read([("labels", [completeness(part(0, 100)), completeness(part(1, 50))])])
    partition.restart()
    assert partition.state.clock.labels.sources.holding == ("s", 1)
    assert not isinstance(partition.state.clock.holder(), Failure)
