"""Time to recover after the loss of a worker, and time to start a broker.

Two scorers run under the supervisor, as with `stream-app up`, under a constant stream of events.
The recovery time ends when, on every partition, an event sent after the worker's exit has an
outcome visible to a reader of committed records.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from benchmarks.cluster import Records
from benchmarks.contenders import RunConfig, pipeline_file, topics, worker_log
from benchmarks.figures import Figures, spread
from benchmarks.observe import POLL_SECONDS, BenchmarkError, Progress
from benchmarks.report import Report, Table
from benchmarks.steady import Sender, outcome_reader
from benchmarks.throughput import all_have_partitions
from stream_app.broker import EmbeddedBroker
from stream_app.settings import KafkaSettings, Settings
from stream_app.worker.supervisor import FIRST_DELAY, Supervisor

EVENTS_PER_SECOND = 400
# Pause between two rounds.
PAUSE_SECONDS = 4.0
TIMEOUT_SECONDS = 60.0
KILLED = "recovery after kill -9"
RESTARTED = "restart by SIGTERM, until all partitions are served again"
COLD, WARM = "embedded broker, new folder: start", "embedded broker, existing folder: start"


def measure(
    servers: str, folder: Path, records: Records, rounds: int, progress: Progress
) -> Iterator[Report]:
    """Measures the start of brokers, then kills and terminates workers alternately."""
    figures: Figures = {KILLED: [], RESTARTED: [], **broker_starts(folder, rounds)}
    config = RunConfig(servers, folder, "recovery", workers=2)
    with topics(config), worker_log(config, "ours") as log:
        up = _supervisor(config, log)
        system = System(config, up, records)
        try:
            for number in range(rounds):
                figures[KILLED].append(system.lose_a_worker(kill=True))
                figures[RESTARTED].append(system.lose_a_worker(kill=False))
                times = ", ".join(
                    f"{name} {figures[name][-1]:.1f} s" for name in (KILLED, RESTARTED)
                )
                progress(f"round {number + 1} of {rounds}: {times}")
                yield _summary(figures)
        finally:
            system.close()


def _summary(figures: Figures) -> Report:
    rows = [(name, f"{spread(values).text(1)} s") for name, values in figures.items() if values]
    return Report([Table("Recovery", ("", "time"), rows)], figures)


def broker_starts(folder: Path, rounds: int) -> Figures:
    """Returns the seconds until a broker is ready, in a new folder and in one with data."""
    figures: Figures = {COLD: [], WARM: []}
    for number in range(rounds):
        broker = EmbeddedBroker(folder / f"broker-{number}", owned=True)
        for name in (COLD, WARM):
            started = time.monotonic()
            broker.start()
            figures[name].append(time.monotonic() - started)
            broker.stop()
    return figures


class System:
    """Running workers, a stream of events, and a reader of their outcomes."""

    def __init__(self, config: RunConfig, supervisor: Supervisor, records: Records) -> None:
        self._config = config
        self._admin = AdminClient({"bootstrap.servers": config.servers, "log_level": 0})
        self._up = supervisor
        self._partitions = range(config.partitions)
        self._scored = config.outputs[0]
        self._up.start()
        self._sender = Sender(config, records, EVENTS_PER_SECOND)
        self._reader = outcome_reader(config)

    def lose_a_worker(self, *, kill: bool) -> float:
        """Returns the seconds until the partitions of a stopped worker are served again."""
        self._sender.start_full_rate()
        self._await_assignment()
        self._served_since(time.monotonic() + PAUSE_SECONDS)
        child = self._up.workers[0]
        if child.process is None:
            raise BenchmarkError(f"{child.name} is not running")
        # Every round counts as the first failure.
        child.delay = FIRST_DELAY
        signalled = time.monotonic()
        child.process.kill() if kill else child.process.terminate()
        # It may serve events until it has exited.
        child.process.wait()
        return self._served_since(time.monotonic()) - signalled

    def close(self) -> None:
        """Stops workers, sender and reader."""
        self._sender.stop()
        self._up.stop()
        self._reader.close()

    def _await_assignment(self) -> None:
        """Waits until both workers have partitions; the loss of an idle one would take no time."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not all_have_partitions(self._admin, self._config, "ours"):
            self._up.supervise()
            if self._up.failed is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"{self._up.failed or 'a worker got no partitions'}")
            time.sleep(POLL_SECONDS)

    def _served_since(self, moment: float) -> float:
        """Returns the time when every partition had an outcome of an event sent after `moment`."""
        waiting = set(self._partitions)
        deadline = moment + TIMEOUT_SECONDS
        while waiting:
            self._up.supervise()
            message = self._reader.poll(0.05)
            if (
                message is not None
                and message.topic() == self._scored
                and self._sent(message) > moment
            ):
                waiting.discard(message.partition())
            if self._up.failed is not None:
                raise BenchmarkError(f"{self._up.failed}")
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"partitions {sorted(waiting)} were not served for {TIMEOUT_SECONDS:.0f} s"
                )
        return time.monotonic()

    def _sent(self, message: Message) -> float:
        return self._sender.sent[message.key()] if message.error() is None else 0.0


def _supervisor(config: RunConfig, log: Path) -> Supervisor:
    settings = Settings(
        data_dir=config.folder / "data", kafka=KafkaSettings(bootstrap_servers=config.servers)
    )
    return Supervisor(
        str(pipeline_file(config)),
        config.name,
        settings,
        scorers=config.workers,
        monitor=False,
        environment=config.environment,
        log_file=log,
    )
