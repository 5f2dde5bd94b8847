"""Pipeline under test: real worker processes on a real broker, checked by their topics."""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import orjson
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from pydantic import SecretStr

from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.core.scoring.state_changelog import COUNTS_KEY
from stream_app.formatting import iso_time
from stream_app.kafka.clients import client_config, make_admin, make_producer
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.kafka.topics import create_topics
from stream_app.records import InputPartition
from stream_app.settings import KafkaSettings, Settings, TopicSettings
from stream_app.topic_kinds import TopicKind, topic_name
from tests.forked_process import WorkerProcess, start_process
from tests.in_process import run_in_process
from tests.label_outcomes import check_label_outcomes
from tests.patience import PATIENCE
from tests.small_pipeline import event, label

ROOT = Path(__file__).parent.parent
DECLARED = """
from tests.small_pipeline import small_pipeline

pipeline = small_pipeline("NAME")
"""


class System:
    """One pipeline under test.

    Args:
        declared: Python source that binds `pipeline`, with NAME for its name.
        with_sources: True for a pipeline with sources.
        kafka: connection to a secured cluster, for the test and for the workers; `environment` and
            arguments of `start` override it for the workers.
    """

    def __init__(
        self,
        servers: str,
        folder: Path,
        name: str,
        declared: str = "",
        *,
        kafka: KafkaSettings | None = None,
        with_sources: bool = False,
        **topics: Any,
    ) -> None:
        self.servers = servers
        self.name = name
        self.folder = folder
        self.pipeline = folder / "declared.py"
        self.pipeline.write_text((declared or DECLARED).replace("NAME", name))
        self.settings = Settings(
            data_dir=folder / "data",
            kafka=kafka or KafkaSettings(bootstrap_servers=servers),
            topics=TopicSettings(**topics),
        )
        self._config = client_config(self.settings)
        self.environment: dict[str, str] = {}
        self.workers: dict[str, WorkerProcess] = {}
        self.sent: Counter[str] = Counter()
        self._readers: dict[str, TopicFollower] = {}
        # Newest checkpoint of each partition, and the number of state records it was found in.
        self._newest: dict[int, bytes] = {}
        self._checked = 0
        self.decode: Callable[[bytes], dict[str, Any]] = orjson.loads
        self.undelivered: list[str] = []
        self.producer = make_producer(
            self.settings,
            linger_ms=2,
            message_max_bytes=self.settings.topics.max_message_bytes + 100_000,
        )
        create_topics(make_admin(self.settings), name, self.settings, with_sources)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        for reader in self._readers.values():
            reader.close()

    def start(self, role: str, instance: str = "0", **environment: str) -> WorkerProcess:
        """Start a worker process, which logs to the folder."""
        worker = f"{role}-{instance}"
        process = start_process(
            ["worker", str(self.pipeline), "--role", role, "--instance", instance],
            os.environ | self._settings_environment() | self.environment | environment,
            self.folder / f"{worker}.log",
        )
        self.workers[worker] = process
        return process

    def start_all(self, scorers: int = 1) -> None:
        """Start scorers and a learner."""
        for instance in range(scorers):
            self.start("score", str(instance))
        self.start("learn")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the workers' settings; PIPELINE stands for the pipeline's file."""
        return run_in_process(
            *self._words(arguments), environment=self._settings_environment() | self.environment
        )

    def start_command(self, *arguments: str, **environment: str) -> WorkerProcess:
        """Start a command in a process of its own, which logs to command.log in the folder."""
        return start_process(
            self._words(arguments),
            os.environ | self._settings_environment() | self.environment | environment,
            self.folder / "command.log",
        )

    def _words(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(self.pipeline) if word == "PIPELINE" else word for word in arguments]

    def kill(self, worker: str) -> None:
        """Kill a worker, as a power failure does."""
        self.workers[worker].kill()
        self.workers[worker].wait()

    def terminate(self, worker: str, timeout: float = 10.0) -> float:
        """Stop a worker, which must exit with 0; returns the seconds that it took."""
        started = time.monotonic()
        self.workers[worker].send_signal(signal.SIGTERM)
        assert self.workers[worker].wait(timeout * PATIENCE) == 0, self.log(worker)
        return time.monotonic() - started

    def log(self, worker: str) -> str:
        """Return the end of a worker's log."""
        return (self.folder / f"{worker}.log").read_text()[-4000:]

    def send(self, kind: TopicKind, value: bytes | None, key: bytes | None, **options: Any) -> None:
        """Produce one record unchanged."""
        while True:
            try:
                self.producer.produce(
                    topic_name(self.name, kind), value, key, on_delivery=self._note, **options
                )
                break
            except BufferError:
                self.producer.poll(0.1)
        self.sent[kind] += 1
        self.producer.poll(0)

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.undelivered.append(f"{message.topic()} {message.key()!r}: {error.str()}")

    def send_event(self, number: int, at: int, **changes: Any) -> None:
        fields = event(number, at, **changes)
        self.send("raw", orjson.dumps(fields), fields["id"].encode())

    def send_label(self, number: int, known_at: int, fraud: bool = False, **changes: Any) -> None:
        fields = label(number, known_at, fraud, **changes)
        self.send("labels", orjson.dumps(fields), fields["id"].encode())

    def complete_labels(self, until: int) -> None:
        """Say that all labels until a time in Unix milliseconds were sent."""
        done = self.command("labels", "complete", "PIPELINE", "--until", iso_time(until), "--json")
        assert done.returncode == 0, done.stderr
        self.sent["labels"] += orjson.loads(done.stdout)["partitions"]

    def read(self, kind: TopicKind) -> list[Message]:
        """Return all committed records of a topic up to its present end."""
        if kind not in self._readers:
            self._readers[kind] = TopicFollower(self._config, topic_name(self.name, kind))
        return self._readers[kind].read()

    def restart_readers(self) -> None:
        """Read every topic from its start again, after topics were recreated."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._newest.clear()
        self._checked = 0

    def values(self, kind: TopicKind) -> list[dict[str, Any]]:
        """Return the decoded values of `read`."""
        return [self.decode(message.value() or b"") for message in self.read(kind)]

    def record_counts(self) -> RecordCounts:
        """Return the scorers' record counts, summed over all partitions."""
        total = RecordCounts()
        for checkpoint in self._checkpoints().values():
            total = total.add(RecordCounts.from_dict(checkpoint["record_counts"]))
        return total

    def _checkpoints(self) -> dict[int, dict[str, Any]]:
        """Return the newest checkpoint of each partition."""
        messages = self.read("score.state")
        for message in messages[self._checked :]:
            if message.key() == COUNTS_KEY:
                self._newest[message.partition() or 0] = message.value() or b""
        self._checked = len(messages)
        return {partition: orjson.loads(value) for partition, value in self._newest.items()}

    def ends(self, kind: TopicKind) -> dict[int, int]:
        """Return the present end offset of each partition of the raw or labels topic."""
        self.read(kind)
        return self._readers[kind].ends()

    def has_processed_beyond(self, kind: TopicKind, ends: Mapping[int, int]) -> bool:
        """Return True if every partition has processed records beyond these offsets."""
        positions = {
            partition: checkpoint["positions"]
            for partition, checkpoint in self._checkpoints().items()
        }
        topic = topic_name(self.name, kind)
        return all(
            positions.get(partition, {}).get(topic, 0) > end for partition, end in ends.items()
        )

    def learned(self) -> int:
        """Return the number of examples that the newest published version has learned."""
        newest_first = reversed(self.read("models"))
        manifest = next(
            (m for m in newest_first if m.value() and (m.key() or b"").startswith(b"version/")),
            None,
        )
        return 0 if manifest is None else int(orjson.loads(manifest.value() or b"")["learned"])

    def await_outcomes(self, timeout: float = 60.0) -> RecordCounts:
        """Wait until every record sent has an outcome; returns the record counts."""
        self.producer.flush(30 * PATIENCE)
        self.until(self.has_all_outcomes, timeout, "not every record has an outcome")
        return self.record_counts()

    def has_all_outcomes(self) -> bool:
        """Return True if every record sent has an outcome."""
        counts = self.record_counts()
        return (counts.events, counts.labels) == (self.sent["raw"], self.sent["labels"])

    def until(self, condition: Callable[[], bool], timeout: float, why: str) -> float:
        """Wait for a condition; returns the seconds it took, or fails with the workers' logs.

        Args:
            timeout: limit in seconds, which is multiplied by `PATIENCE`.
        """
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > timeout * PATIENCE:
                logs = "\n".join(f"--- {worker}\n{self.log(worker)}" for worker in self.workers)
                sent = f"sent {self.sent}, not delivered {self.undelivered}"
                raise AssertionError(f"{why}: {self.record_counts()}, {sent}\n{logs}")
            time.sleep(0.1)
        return time.monotonic() - started

    def check_outcomes(self) -> None:
        """Check that every record and label has exactly one outcome, as the record counts say."""
        counts = self.await_outcomes()
        scored = Counter(value["event_id"] for value in self.values("scored"))
        examples = Counter(
            value["event_id"] for value in self.values("examples") if value["kind"] == "example"
        )
        assert [event_id for event_id, count in scored.items() if count > 1] == []
        assert [event_id for event_id, count in examples.items() if count > 1] == []
        assert scored.total() == counts.scored
        assert examples.total() == counts.examples
        assert dead_letters(self.read("raw.dlq")) == counts.dead
        assert dead_letters(self.read("labels.dlq")) == counts.label_dead
        outcomes = [orjson.loads(one.value() or b"") for one in self.read("label_outcomes")]
        check_label_outcomes(outcomes, counts)
        assert counts.scored == counts.closed_or_pending
        assert counts.retrying == 0

    def _settings_environment(self) -> dict[str, str]:
        topics = self.settings.topics
        return {
            "STREAM_APP_DATA_DIR": str(self.settings.data_dir),
            **kafka_environment(self.settings.kafka),
            "STREAM_APP_TOPICS__PARTITIONS": str(topics.partitions),
            "STREAM_APP_TOPICS__MAX_MESSAGE_BYTES": str(topics.max_message_bytes),
            "STREAM_APP_LEARN__PUBLISH_SECONDS": "0.3",
            "STREAM_APP_LEARN__CHECKPOINT_SECONDS": "1",
            "PYTHONPATH": str(ROOT),
        }


def kafka_environment(kafka: KafkaSettings) -> dict[str, str]:
    """Return the variables of Kafka settings: ``start("score", **kafka_environment(settings))``.

    Other variables that they replace must be removed.
    """
    given = kafka.model_dump(exclude_defaults=True)
    return {
        f"STREAM_APP_KAFKA__{name.upper()}": value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        for name, value in given.items()
    }


class Load(threading.Thread):
    """Sends events and labels at a rate, with some duplicates and bad records, until stopped."""

    def __init__(self, system: System, rate: float, first: int = 0) -> None:
        super().__init__(daemon=True)
        self.count = first
        self._system = system
        self._rate = rate
        self._stopping = threading.Event()
        self._base = int(time.time() * 1000) - 3_600_000

    def run(self) -> None:
        started, first = time.monotonic(), self.count
        while not self._stopping.is_set():
            behind = first + (time.monotonic() - started) * self._rate - self.count
            for _ in range(int(behind)):
                self._send(self.count)
                self.count += 1
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop sending, with everything delivered."""
        self._stopping.set()
        self.join()
        if queued := self._system.producer.flush(30 * PATIENCE):
            self._system.undelivered.append(f"{queued} records were never sent")

    def _send(self, number: int) -> None:
        at = self._base + number
        self._system.send_event(number, at)
        self._system.send_label(number, at + 500, fraud=number % 97 > 60)
        if number % 100 == 7:
            self._system.send_event(number, at)
        if number % 100 == 11:
            self._system.send("raw", b"{broken", f"e{number}".encode())
        if number % 100 == 13:
            self._system.send_label(number, at + 500)


def dead_letters(messages: list[Message]) -> Counter[str]:
    """Count dead letters by code; no source offset may occur twice."""
    found = [headers(message) for message in messages]
    sources = Counter(
        (
            f["stream-app-original-topic"],
            f["stream-app-original-partition"],
            f["stream-app-original-offset"],
            f["stream-app-replay-count"],
        )
        for f in found
    )
    assert all(count == 1 for count in sources.values())
    return Counter(headers(message)["stream-app-error-code"] for message in messages)


def headers(message: Message) -> Mapping[str, str]:
    """Return the headers as text."""
    return {
        name: (content or b"").decode("utf-8", "replace")
        for name, content in message.headers() or ()
    }


class TopicFollower:
    """Reads a topic from its start, and later calls continue where the last one ended."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._consumer = Consumer(
            {
                **config,
                "group.id": "test-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
            }
        )
        self._log = RetryingReader(config, "test-reader")
        count = len(self._consumer.list_topics(topic, timeout=60).topics[topic].partitions)
        self._partitions = [TopicPartition(topic, partition, 0) for partition in range(count)]
        self._consumer.assign(self._partitions)
        self._messages: list[Message] = []
        self._ended: dict[int, int] = {}

    def read(self) -> list[Message]:
        """Return all records up to the present stable end."""
        behind = {
            number: end for number, end in self.ends().items() if self._ended.get(number, -1) < end
        }
        while behind:
            for message in self._consumer.consume(10_000, 0.1):
                error, partition = message.error(), message.partition() or 0
                if error is None:
                    self._messages.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._ended[partition] = message.offset() or 0
                    if self._ended[partition] >= behind.get(partition, 0):
                        behind.pop(partition, None)
        return self._messages

    def ends(self) -> dict[int, int]:
        """Return the stable end offset of each partition."""
        return {
            tp.partition: self._log.ends(InputPartition(tp.topic, tp.partition))[1]
            for tp in self._partitions
        }

    def close(self) -> None:
        self._consumer.close()


def read_topic(servers: str, topic: str) -> list[Message]:
    """Return all committed records of a topic."""
    reader = TopicFollower({"bootstrap.servers": servers, "log_level": 0}, topic)
    try:
        return reader.read()
    finally:
        reader.close()
