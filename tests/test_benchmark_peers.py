"""Both hand-written loops of the benchmarks do the same work, and workloads are as described."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import orjson
import pytest

from benchmarks import restore_process
from benchmarks.cluster import BAD_EVERY, first_flights, flights
from benchmarks.contenders import BEFORE, HERE, Setup
from benchmarks.peers import forwarding, ours, transactional, tuned
from benchmarks.peers.work import BAD, numbers, numbers_of_small, trained_model
from benchmarks.workload import MODELS, PAYLOADS, Workload, schema, to_payload
from stream_app.core.reading.record_reader import Event, EventReader
from stream_app.core.reading.selection import Forwarded, SourceIntake
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.state_changelog import BlockChange, decode_change
from stream_app.loading import complete
from stream_app.records import Headers, Record
from stream_app.sources import Source

NOW = 1_700_000_000_000
SCORED, DEAD, CHANGELOG = "p.scored", "p.raw.dlq", "p.score.state"
EXTRA_EVENTS = 30
EVENTS: list[restore_process.Known] = [
    (f"e{number}", NOW + number % 7, {"x": 1.5}) for number in range(1000)
]


@dataclass
class Fetched:
    """Message as a consumer returns it."""

    at: int
    record: tuple[bytes, bytes]

    def key(self) -> bytes:
        return self.record[0]

    def value(self) -> bytes:
        return self.record[1]

    def offset(self) -> int:
        return self.at

    def partition(self) -> int:
        return 2

    def topic(self) -> str:
        return "p.raw"

    def timestamp(self) -> tuple[int, int]:
        return 1, NOW


class Written:
    """Producer that keeps what it is given, by topic."""

    def __init__(self) -> None:
        self.records: dict[str, list[tuple[bytes, bytes]]] = {}

    def produce(
        self, topic: str, value: bytes, key: bytes, partition: int = 0, headers: object = None
    ) -> None:
        assert partition == 2
        self.records.setdefault(topic, []).append((key, value))


@pytest.fixture(scope="module")
def fetched() -> list[Fetched]:
    """1,030 records: one in a hundred is broken; the first 30, of them one broken, come again."""
    records = flights(1000)
    return [Fetched(at, one) for at, one in enumerate([*records, *records[:EXTRA_EVENTS]])]


def plain_loop(messages: list[Fetched]) -> dict[str, list[tuple[bytes, bytes]]]:
    written, state = Written(), transactional.State()
    model = trained_model()
    for message in messages:
        transactional.work(
            written,
            model,
            state,
            message,
            NOW,
            SCORED,
            DEAD,
            CHANGELOG,
        )
    return written.records


def tuned_loop(messages: list[Fetched]) -> dict[str, list[tuple[bytes, bytes]]]:
    written = Written()
    outputs = tuned.Outputs(written, (SCORED, DEAD, CHANGELOG), 2)
    predict, decode = tuned.predict_function(trained_model()), tuned.decoder().decode
    for start in range(0, len(messages), 300):
        outputs.process(messages[start : start + 300], predict, decode, NOW)
    outputs.complete(len(messages))
    return written.records


def test_both_loops_write_the_same_scored_records_and_dead_letters(fetched: list[Fetched]) -> None:
    plain, fast = plain_loop(fetched), tuned_loop(fetched)
    assert len(plain[SCORED]) == 990
    for (key, value), (fast_key, fast_value) in zip(plain[SCORED], fast[SCORED], strict=True):
        expected, found = orjson.loads(value), orjson.loads(fast_value)
        assert found.pop("score") == pytest.approx(expected.pop("score"), abs=1e-12)
        assert (fast_key, found) == (key, expected)
    assert fast[DEAD] == plain[DEAD]


def test_the_tuned_loop_writes_the_blocks_that_a_scorer_reads(fetched: list[Fetched]) -> None:
    fast = tuned_loop(fetched)
    changes = [decode_change(key, value) for key, value in fast[CHANGELOG][:-1]]
    blocks = [change for change in changes if isinstance(change, BlockChange)]
    assert changes == blocks
    ids = [event_id for block in blocks for event_id in block.ids]
    assert ids == [key.decode() for key, _ in fast[SCORED]]
    assert len(fast[CHANGELOG]) == 11
    assert orjson.loads(fast[CHANGELOG][-1][1])["duplicates"] == EXTRA_EVENTS - 1


@pytest.mark.parametrize(
    "change",
    [
        {"flight": 2**31},
        {"flight": "1545"},
        {"flight": 1.5},
        {"carrier": None},
        {"humidity": "62"},
        {"tail_number": 7},
        {"event_id": "another"},
        {"scheduled_departure": "yesterday"},
        {"scheduled_departure": "2050-01-01T00:00:00Z"},
        {"distance": None},
    ],
    ids=str,
)
def test_both_loops_reject_what_is_invalid(change: dict[str, Any]) -> None:
    event = first_flights(1)[0].event
    record = event["event_id"].encode(), orjson.dumps({**event, **change})
    for loop in (plain_loop, tuned_loop):
        assert SCORED not in loop([Fetched(0, record)])


def test_the_forwarding_loop_writes_what_ingest_writes(fetched: list[Fetched]) -> None:
    source = Source(topic="shop", name="flights", start="earliest")
    intake = SourceIntake(complete(replace(ours.make("p"), sources=(source,))), source, label=False)
    valid = [one for one in fetched if one.at % BAD_EVERY != 7 and one.at < 1000]
    written: list[tuple[bytes, bytes, Headers]] = []
    loop = forwarding.Forwarding(
        lambda _, value, key, headers: written.append((key, value, headers)), "p.raw"
    )
    loop.forward(valid)
    times = []
    for message, (key, value, headers) in zip(valid, written, strict=True):
        record = Record("shop", 2, message.offset(), NOW, b"theirs", message.value())
        found = intake.read(record)
        assert isinstance(found, Forwarded)
        times.append(found.time)
        assert (key, value, headers) == (found.key, message.value(), found.headers)
    assert loop.positions == {2: valid[-1].offset() + 1}
    assert loop.watermark == max(filter(None, times))


def test_the_folded_weights_give_the_probability_of_the_model() -> None:
    model = trained_model()
    predict = tuned.predict_function(model)
    for flight in first_flights(1)[:500]:
        features = numbers(flight.event)
        expected = model.predict_proba_one(features)[True]
        assert predict(tuple(map(float, features.values()))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("payload", "size"), [("small", 200), ("flights", 320), ("large", 2000)])
def test_a_payload_has_its_size(payload: str, size: int) -> None:
    assert mean(len(value) for _, value in flights(500, payload, bad_every=0)) == pytest.approx(
        size, rel=0.05
    )
    assert PAYLOADS[payload].startswith(str(size // 1000 if size >= 1000 else size))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_ours_reads_every_payload(payload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "WORKLOAD", Workload(payload))
    monkeypatch.setattr(ours, "features_of", numbers_of_small)
    reader = EventReader(complete(ours.make("p")))
    (key, value), *_ = flights(1, payload)
    event = reader.read(Record("p.raw", 0, 0, 0, key, value), NOW)
    assert isinstance(event, Event)
    assert len(event.features) == 8


def test_a_workload_survives_the_environment() -> None:
    for workload in (Workload(payload, model) for payload in PAYLOADS for model in MODELS):
        assert Workload.from_environment(workload.environment) == workload
    assert Workload.from_environment({}) == Workload()


def test_a_small_payload_lacks_only_what_the_schema_does_not_require() -> None:
    event = first_flights(1)[0].event
    required = {one["name"] for one in schema("small")["fields"] if "default" not in one}
    assert set(to_payload(event, "small")) == required
    with pytest.raises(BAD):
        numbers_of_small({})


def test_an_earlier_build_runs_with_its_own_environment(tmp_path: Path) -> None:
    setup = Setup("localhost:1", tmp_path, 1, print, before=tmp_path / "earlier")
    earlier, present = setup.config("a", BEFORE), setup.config("a", "ours")
    assert setup.ours == ("ours", BEFORE)
    assert earlier.python == str(tmp_path / "earlier" / ".venv" / "bin" / "python")
    assert earlier.environment["PYTHONPATH"].startswith(str(tmp_path / "earlier"))
    assert present.environment["PYTHONPATH"].startswith(str(HERE))
    assert earlier.raw != present.raw
    assert Setup("localhost:1", tmp_path, 1, print).ours == ("ours",)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_changelog_of_the_benchmark_restores_every_event(share: float) -> None:
    log = restore_process.changelog(EVENTS, share)
    state = PartitionState(0, restore_process.DAY_MS, restore_process.DAY_MS)
    state.restore(log)
    joined = sum(isinstance(entry, int) for entry in state.entries.values())
    assert len(state.entries) == 1000
    assert joined / 1000 == pytest.approx(share, abs=0.05)
    assert state.counts.pending == 1000 - joined
