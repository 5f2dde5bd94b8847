"""Live stream of flights, of which a tenth is hostile, to real workers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import orjson

from stream_app.broker import EmbeddedBroker
from stream_app.examples.nycflights import Item
from stream_app.settings import LearnSettings
from stream_app.topic_kinds import TopicKind
from tests.faults.foreign_producer import ForeignProducer
from tests.faults.hostile_records import ForeignRecord, HostileRecords
from tests.faults.hostile_values import Encode, any_text, to_json
from tests.in_process import run_in_process
from tests.running_system import System

TIME_FIELDS = ("scheduled_departure", "known_at")
# One of so many records is hostile.
HOSTILE = 10
# The newest examples may be unlearnable, and then they make no version.
MAX_UNLEARNED = 10
# Declares the flights without bounds, or with those that `try` proposes.
DECLARED = """
from dataclasses import replace
from stream_app.cleaning import Between
from stream_app.loading import load_pipeline

flights = load_pipeline("stream_app.examples.flights:pipeline")
clean = tuple(step for step in flights.clean if not isinstance(step, Between))
pipeline = replace(flights, name="NAME", clean=(BOUNDS*clean,))
"""
# Predicts how late a flight is, as one of the texts that labels have.
CLASSES = """
from dataclasses import replace
from river import naive_bayes
from stream_app.examples.flights import NUMBERS
from stream_app.loading import load_pipeline
from stream_app.transformers import Pick

flights = load_pipeline("stream_app.examples.flights:pipeline")
fields = [{"name": name, "type": "string"} for name in ("event_id", "known_at", "late")]
schema = {"type": "record", "name": "Truth", "fields": fields}
pipeline = replace(
    flights,
    name="NAME",
    model=lambda: Pick(NUMBERS) | naive_bayes.GaussianNB(),
    label=replace(flights.label, schema=schema),
    metrics=(),
    thresholds=type(flights.thresholds)(),
    pass_through=("carrier", "wind_speed"),
)
"""


class ScoredFlights(System):
    """Scorer, learner and monitor of flights, with the default settings."""

    def __init__(
        self, broker: EmbeddedBroker, folder: Path, declared: str, **environment: str
    ) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(broker.bootstrap_servers, folder, f"hostile-{uuid4().hex[:8]}", declared)
        defaults = LearnSettings()
        self.environment = {
            "STREAM_APP_LEARN__PUBLISH_SECONDS": str(defaults.publish_seconds),
            "STREAM_APP_LEARN__CHECKPOINT_SECONDS": str(defaults.checkpoint_seconds),
            **environment,
        }

    def __enter__(self) -> "ScoredFlights":
        return self

    def start_roles(self) -> None:
        """Starts a worker of each role, and waits until they serve their metrics."""
        self.start_all()
        self.start("monitor")
        folder = self.settings.data_dir / "run" / self.name
        self.until(
            lambda: all((folder / f"{worker}.json").exists() for worker in self.workers),
            60,
            "a worker does not start",
        )


class Chunk(NamedTuple):
    """Records that are sent together, to a system with hostile records or also to one without."""

    honest: Sequence[ForeignRecord]
    hostile: Sequence[ForeignRecord]


@dataclass(frozen=True)
class MixedChunks:
    """Chunks of a stream: honest records in their order, hostile ones for the time between them.

    Attributes:
        items: honest records.
        hostile: generator of hostile records.
        size: number of records of a chunk.
        last: number of hostile records after the honest ones, with times ahead of those, too.
        encode: returns the value of an honest record.
    """

    items: Sequence[Item]
    hostile: HostileRecords
    size: int
    last: int
    encode: Encode = to_json

    def __iter__(self) -> Iterator[Chunk]:
        items, hostile, taken = self.items, self.hostile, self.size // HOSTILE
        event, label = (
            next(record for kind, _, record in items if kind == one) for one in ("raw", "labels")
        )
        latest = 0
        for start in range(0, len(items), self.size - taken):
            honest = items[start : start + self.size - taken]
            ids = [record["event_id"] for _, _, record in items[start : start + 3 * self.size]]
            latest = honest[0][1]
            sent = [self._honest(kind, record) for kind, _, record in honest]
            yield Chunk(sent, hostile.take(taken, event, label, latest, ids))
            for kind, _, record in honest:
                event, label = (record, label) if kind == "raw" else (event, record)
        hostile.ahead = True
        for _ in range(0, self.last, taken):
            yield Chunk((), hostile.take(taken, event, label, latest, ()))

    def _honest(self, kind: TopicKind, record: Mapping[str, Any]) -> ForeignRecord:
        key, value = record["event_id"].encode(), self.encode(kind, list(record.items()))
        return ForeignRecord(kind, key, value)


class Stream(Thread):
    """Sends chunks to a system, and the honest records of them to another one, too.

    It sends a chunk once the one before it is learned and served, as a stream in real time would,
    so that both systems score each event with a model that is equally old.

    Attributes:
        failure: what ended it early.
    """

    def __init__(
        self, chunks: Iterable[Chunk], producer: ForeignProducer, mixed: System, *honest: System
    ) -> None:
        super().__init__(name="stream", daemon=True)
        self.failure: Exception | None = None
        self._stopping = Event()
        self._chunks = chunks
        self._producer = producer
        self._mixed = mixed
        self._honest = honest
        self._chance = Random(0)

    def run(self) -> None:
        try:
            for chunk in self._chunks:
                if self._stopping.is_set():
                    return
                self.send(chunk)
                for system in (self._mixed, *self._honest):
                    await_served(system)
        except Exception as error:
            self.failure = error

    def __enter__(self) -> "Stream":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops after the present chunk, if it has not ended."""
        self._stopping.set()
        self.join()

    def send(self, chunk: Chunk) -> None:
        """Sends a chunk, the hostile records at any places among the honest ones."""
        places = [self._chance.randrange(len(chunk.honest) + 1) for _ in chunk.hostile]
        records = [*zip(sorted(places), chunk.hostile, strict=True)]
        for place, record in enumerate(chunk.honest):
            while records and records[0][0] <= place:
                self._producer.send(records.pop(0)[1])
            for system in (self._mixed, *self._honest):
                system.send(record.kind, record.value, record.key)
        for _, record in records:
            self._producer.send(record)
        self._producer.flush()
        for system in (self._mixed, *self._honest):
            system.producer.flush(60)


def await_served(system: System) -> None:
    """Waits until every record has its outcome, and the scorer serves what was learned of it."""

    def is_served() -> bool:
        # The number of a version is the offset of the first example that it has not learned.
        newest_first = reversed(system.read("examples"))
        served = served_version(system)
        behind = takewhile(lambda example: (example.offset() or 0) >= served, newest_first)
        return sum(1 for _ in behind) <= MAX_UNLEARNED

    system.until(system.has_all_outcomes, 120, "the workers do not keep up")
    system.until(is_served, 120, "the examples are not learned and served")


def served_version(system: System) -> int:
    """Returns the model version that the scorer serves, 0 while it is not ready."""
    folder = system.settings.data_dir / "run" / system.name
    worker = orjson.loads((folder / "score-0.json").read_bytes())
    with (
        suppress(HTTPError),
        urlopen(f"http://{worker['host']}:{worker['port']}/readyz", timeout=10) as answer,
    ):
        return int(orjson.loads(answer.read()).get("model_version", 0))
    return 0


def propose_bounds(folder: Path, items: Sequence[Item]) -> str:
    """Returns the bounds that `try` proposes for the flights, as cleaning steps."""
    pipeline, events = folder / "unbounded.py", folder / "events.jsonl"
    pipeline.write_text(DECLARED.replace("BOUNDS", "").replace("NAME", "unbounded"))
    records = [orjson.dumps(record) for kind, _, record in items if kind == "raw"]
    events.write_bytes(b"\n".join(records))
    done = run_in_process("try", str(pipeline), str(events), "--json")
    assert done.returncode == 0, done.stderr
    proposed = orjson.loads(done.stdout.strip("\n").split("\n")[-1])["proposed_bounds"]
    lines = [one["line"] for one in proposed]
    assert len(lines) > 4
    print("\n".join(lines))
    return "".join(f"{line}, " for line in lines)


def with_classes(items: Sequence[Item]) -> list[Item]:
    """Returns the flights with texts as labels."""
    return [
        (kind, at, {**record, "late": "late" if record["late"] else "on time"})
        if kind == "labels"
        else (kind, at, record)
        for kind, at, record in items
    ]


def any_class(chance: Random) -> str:
    """Returns one of two classes, or any text."""
    return chance.choice(("late", "on time")) if chance.random() < 0.5 else any_text(chance)
