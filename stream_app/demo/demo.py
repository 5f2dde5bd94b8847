"""The demo: its own broker and workers, and two months of flights replayed in event time.

Some records have mistakes of producers.
"""

import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Producer
from rich.console import Console

from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.demo.collector import Collector, ModelTimeline
from stream_app.demo.demo_summary import LiveView, summarise, summary_table, verify
from stream_app.errors import StreamAppError, VerificationError
from stream_app.examples.flights import pipeline
from stream_app.examples.nycflights import Item, read_flights, timeline
from stream_app.kafka.clients import client_config, make_admin, make_producer
from stream_app.kafka.offsets import PartitionId
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.kafka.topic_uses import group_name
from stream_app.kafka.topics import create_topics
from stream_app.lifecycle.up import embedded_broker
from stream_app.settings import KafkaSettings, Settings
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.supervisor import Supervisor

SPEC = "stream_app.examples.flights:pipeline"
# Age in hours of event time of the oldest known label that the model of a prediction may lack.
MAX_STALE_HOURS = 6.0
# Records sent between two polls of the output.
CHUNK = 200
STUCK_SECONDS = 60.0
WORKERS = {
    "STREAM_APP_WORKER__COMMIT_INTERVAL_MS": "20",
    "STREAM_APP_LEARN__PUBLISH_SECONDS": "0.02",
    "STREAM_APP_LEARN__PUBLISH_SHARE": "0.5",
}


class ScheduledSend(NamedTuple):
    """Record to produce.

    Attributes:
        kind: topic.
        time: event time or label time in Unix milliseconds.
        key: key of the record.
        value: value of the record.
        teaches: event id of a label that will be learned, None for other records.
    """

    kind: TopicKind
    time: int
    key: bytes
    value: bytes
    teaches: str | None = None


def scheduled_sends(items: Iterable[Item], mistakes: float, seed: int) -> Iterator[ScheduledSend]:
    """Yield the records of a timeline, some of them with mistakes.

    A record may be sent twice, truncated, or have a field of a wrong type. The label of a broken
    event is sent nevertheless, as happens in practice.

    Args:
        items: events and labels in the order of their times.
        mistakes: share of records with a mistake.
        seed: seed of the random choice.
    """
    random = Random(seed)
    broken: set[str] = set()
    for kind, at, fields in items:
        name = fields["event_id"]
        key, value = name.encode(), orjson.dumps(fields)
        mistake = random.choice(("twice", "cut", "type")) if random.random() < mistakes else ""
        if mistake == "cut":
            value = value[: len(value) // 2]
        elif mistake == "type":
            value = orjson.dumps(_with_wrong_type(kind, fields))
        if mistake in ("cut", "type"):
            broken.add(name)
        yield ScheduledSend(
            kind, at, key, value, name if kind == "labels" and name not in broken else None
        )
        if mistake == "twice":
            yield ScheduledSend(kind, at, key, value)


def _with_wrong_type(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "late": "perhaps"} if kind == "labels" else {**fields, "distance": "far"}


class RateLimiter:
    """Limits a replay to the speed of the learner.

    An event may be sent only if the model has learned every label that was known `limit`
    milliseconds of event time before it. In real time a model lags behind the labels by seconds; in
    a replay at twenty thousand times that speed it would lag by weeks.

    Args:
        limit: milliseconds of event time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Label time and event id, in the order sent.
        self._unlearned: deque[tuple[int, str]] = deque()
        self._learned: set[str] = set()

    def sent(self, label_time: int, event_id: str) -> None:
        """Add a label that was sent to the learner."""
        self._unlearned.append((label_time, event_id))

    def learned(self, event_id: str) -> None:
        """Remove the label of an event that the published model has learned."""
        self._learned.add(event_id)

    def allows(self, event_time: int) -> bool:
        """Return True if a record of this time may be sent now."""
        unlearned = self._unlearned
        while unlearned and unlearned[0][1] in self._learned:
            self._learned.discard(unlearned.popleft()[1])
        return not unlearned or event_time <= unlearned[0][0] + self._limit


def run_demo(
    settings: Settings, start: datetime, end: datetime, mistakes: float, scorers: int, pace: float
) -> dict[str, Any]:
    """Replay flights and return the summary.

    Args:
        settings: settings; the demo uses its own broker and data folder.
        start: first scheduled departure.
        end: scheduled departures end before this time.
        mistakes: share of records with a producer's mistake.
        scorers: number of scorer processes.
        pace: hours of event time that a model may lag behind the labels.

    Raises:
        VerificationError: an event was lost or duplicated, or a prediction used a stale model.
    """
    began = time.monotonic()
    items = timeline(read_flights(start, end))
    with LiveView(len(items)) as view, _fresh_system(settings, scorers, view) as (own, supervisor):
        replay = FlightReplay(own, supervisor, view, pace)
        replay.run(scheduled_sends(items, mistakes, seed=2013))
        seconds = time.monotonic() - began
        summary = summarise(replay.observer, replay.sent, seconds)
    summary["restarts"] = supervisor.restarts
    Console(stderr=True).print(summary_table(summary))
    verify(summary, replay.observer)
    if summary["staleness"]["max"] > MAX_STALE_HOURS:
        raise VerificationError(
            f"a prediction used a model that was {summary['staleness']['max']} h stale,"
            f" over {MAX_STALE_HOURS:.0f} h",
            "The machine is too busy for this pace; run it again when it is quieter",
        )
    return summary


@contextmanager
def _fresh_system(
    settings: Settings, scorers: int, view: LiveView
) -> Iterator[tuple[Settings, Supervisor]]:
    """Start a broker, topics and workers in a new data folder, and stop them at the end."""
    folder = settings.data_dir / "demo"
    broker = embedded_broker(settings.model_copy(update={"data_dir": folder}))
    # An earlier demo may have left it running.
    broker.kill()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    view.say("Starting Kafka ...")
    owned = EmbeddedBroker(
        folder / "kafka",
        cache_dir=settings.cache_dir,
        repository=settings.broker.repository,
        owned=True,
    )
    owned.start()
    try:
        kafka = KafkaSettings(bootstrap_servers=owned.bootstrap_servers)
        own = settings.model_copy(update={"data_dir": folder, "kafka": kafka})
        create_topics(make_admin(own), pipeline.name, own)
        with _workers(own, scorers, view) as supervisor:
            yield own, supervisor
    finally:
        owned.stop(timeout=5.0)


@contextmanager
def _workers(own: Settings, scorers: int, view: LiveView) -> Iterator[Supervisor]:
    view.say(f"Starting {scorers} scorers, a learner and a monitor ...")
    environment = {
        # Settings of another cluster are removed.
        **{name: None for name in os.environ if name.upper().startswith("STREAM_APP_KAFKA__")},
        "STREAM_APP_DATA_DIR": str(own.data_dir),
        "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": str(own.kafka.bootstrap_servers),
        **WORKERS,
    }
    log_file = own.data_dir / "workers.log"
    supervisor = Supervisor(
        SPEC, pipeline.name, own, scorers, environment=environment, log_file=log_file
    )
    supervisor.start()
    try:
        if not supervisor.wait_ready(60):
            raise supervisor.failed or StreamAppError(
                "The workers did not become ready", f"See {log_file}"
            )
        yield supervisor
    finally:
        supervisor.stop()


class FlightReplay:
    """Sends records as fast as the learner learns, and polls the output."""

    def __init__(
        self, settings: Settings, supervisor: Supervisor, view: LiveView, pace: float
    ) -> None:
        self.sent: Counter[str] = Counter()
        self._rate_limiter = RateLimiter(int(pace * 3_600_000))
        self.observer = Collector(
            PartitionReader(client_config(settings), fetch_wait_max_ms=10),
            pipeline.name,
            BinaryTask(pipeline.thresholds.decision),
            self._rate_limiter.learned,
        )
        self.observer.assign(_output_partitions(settings))
        self._producer: Producer = make_producer(settings)
        self._reader = RetryingReader(client_config(settings), group_name(pipeline.name, "monitor"))
        self._model_timeline = ModelTimeline(supervisor)
        self._supervisor = supervisor
        self._view = view
        self._time = 0
        self._progress = (0, time.monotonic())

    def run(self, records: Iterator[ScheduledSend]) -> None:
        """Send all records, and wait until all are scored, learned and monitored."""
        record = next(records, None)
        while record is not None:
            for _ in range(CHUNK):
                if record is None or not self._rate_limiter.allows(record.time):
                    break
                self._send(record)
                record = next(records, None)
            self._poll()
        self._producer.flush(30)
        while not (self._is_learned() and self._is_monitored()):
            self._poll()
        self._view.update(self.sent, self._time, self.observer, force=True)

    def _send(self, record: ScheduledSend) -> None:
        self._producer.produce(topic_name(pipeline.name, record.kind), record.value, record.key)
        self.sent[record.kind] += 1
        self._time = record.time
        if record.teaches is not None:
            self._rate_limiter.sent(record.time, record.teaches)

    def _poll(self) -> None:
        """Process new output, supervise the workers, and fail if nothing progresses."""
        self._producer.poll(0)
        taken = self.observer.poll(0.01)
        self.observer.serving(self._model_timeline.version)
        self._supervisor.supervise()
        if self._supervisor.failed is not None:
            raise self._supervisor.failed
        self._view.update(self.sent, self._time, self.observer)
        now = time.monotonic()
        done = self._progress[0] + taken + self.sent.total()
        if taken or done != self._progress[0]:
            self._progress = (done, now)
        if now - self._progress[1] > STUCK_SECONDS:
            raise VerificationError(
                f"The replay made no progress for {STUCK_SECONDS:.0f} s",
                f"See {self._supervisor.log_file}",
            )

    def _is_learned(self) -> bool:
        """Return True if every record has an outcome and the model has every example."""
        observer = self.observer
        counts, champion = observer.record_counts, observer.champion
        return (
            (counts.events, counts.labels) == (self.sent["raw"], self.sent["labels"])
            and len(observer.scored) == counts.scored
            and len(observer.examples) == counts.joined
            and (champion.learned if champion else 0) == counts.joined
        )

    def _is_monitored(self) -> bool:
        """Return True if the monitor has committed the offsets of all its input."""
        last = self.observer.last
        committed = self._reader.committed(list(last))
        return all(committed[source] > offset for source, offset in last.items())


def _output_partitions(settings: Settings) -> list[PartitionId]:
    kinds: tuple[TopicKind, ...] = ("scored", "raw.dlq", "labels.dlq", "score.state")
    count = range(settings.topics.partitions)
    many = [(topic_name(pipeline.name, kind), partition) for kind in kinds for partition in count]
    return many + [
        (topic_name(pipeline.name, kind), 0)
        for kind in ("examples", "models", "monitoring", "alarms")
    ]
