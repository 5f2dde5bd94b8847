"""How long partitions go without a worker when one ends, and how long a broker takes to start.

Two scorers under the supervisor, as `stream-app up` runs them, with a steady stream of events. Time is taken from the
signal until on every partition an event that was sent after the worker's end has an outcome that a reader of committed
records can see.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from benchmarks.cluster import Records
from benchmarks.contenders import Race, logged, pipeline_file, topics
from benchmarks.figures import Figures, spread
from benchmarks.observe import LOOK_SECONDS, BenchmarkError, Say
from benchmarks.report import Part, Table
from benchmarks.steady import Sender, outcome_reader
from benchmarks.throughput import all_have_partitions
from stream_app.broker import EmbeddedBroker
from stream_app.settings import KafkaSettings, Settings
from stream_app.worker.supervisor import FIRST_DELAY, Supervisor

RATE = 400  # events per second
QUIET_SECONDS = 4.0  # between two rounds
LONGEST_SECONDS = 60.0
KILLED = "recovery after kill -9"
RESTARTED = "restart by SIGTERM, until all partitions are served again"
COLD, WARM = "embedded broker, new folder: start", "embedded broker, existing folder: start"


def measure(servers: str, folder: Path, records: Records, rounds: int, say: Say) -> Iterator[Part]:
    """Both ways for a worker to end, in turn, then brokers."""
    figures: Figures = {KILLED: [], RESTARTED: [], **broker_starts(folder, rounds)}
    race = Race(servers, folder, "recovery", workers=2)
    with topics(race), logged(race, "ours") as log:
        up = _supervisor(race, log)
        system = System(race, up, records)
        try:
            for number in range(rounds):
                figures[KILLED].append(system.lose_a_worker(kill=True))
                figures[RESTARTED].append(system.lose_a_worker(kill=False))
                told = ", ".join(
                    f"{name} {figures[name][-1]:.1f} s" for name in (KILLED, RESTARTED)
                )
                say(f"round {number + 1} of {rounds}: {told}")
                yield _summary(figures)
        finally:
            system.close()


def _summary(figures: Figures) -> Part:
    rows = [(name, f"{spread(values).text(1)} s") for name, values in figures.items() if values]
    return Part([Table("Starting again", ("", "time"), rows)], figures)


def broker_starts(folder: Path, rounds: int) -> Figures:
    """Seconds until a broker is ready, in a new folder and in one with data."""
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
    """Running workers, events on their way, and the outcomes."""

    def __init__(self, race: Race, supervisor: Supervisor, records: Records) -> None:
        self._race = race
        self._admin = AdminClient({"bootstrap.servers": race.servers, "log_level": 0})
        self._up = supervisor
        self._partitions = range(race.partitions)
        self._scored = race.outputs[0]
        self._up.start()
        self._sender = Sender(race, records, RATE)
        self._reader = outcome_reader(race)

    def lose_a_worker(self, *, kill: bool) -> float:
        """Seconds until the partitions of a worker that ends are served again."""
        self._sender.hurry()
        self._all_take_part()
        self._served_since(time.monotonic() + QUIET_SECONDS)
        child = self._up.workers[0]
        if child.process is None:
            raise BenchmarkError(f"{child.name} is not running")
        child.delay = FIRST_DELAY  # each round is the first death
        told = time.monotonic()
        child.process.kill() if kill else child.process.terminate()
        child.process.wait()  # until then it may still serve what is sent
        return self._served_since(time.monotonic()) - told

    def close(self) -> None:
        """Stop everything."""
        self._sender.stop()
        self._up.stop()
        self._reader.close()

    def _all_take_part(self) -> None:
        """Wait until both workers have partitions: the end of one that has none costs nothing."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while not all_have_partitions(self._admin, self._race, "ours"):
            self._up.supervise()
            if self._up.failed is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"{self._up.failed or 'a worker got no partitions'}")
            time.sleep(LOOK_SECONDS)

    def _served_since(self, moment: float) -> float:
        """When every partition had an outcome of an event sent after `moment`."""
        waiting = set(self._partitions)
        deadline = moment + LONGEST_SECONDS
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
                    f"partitions {sorted(waiting)} were not served for {LONGEST_SECONDS:.0f} s"
                )
        return time.monotonic()

    def _sent(self, message: Message) -> float:
        return self._sender.sent[message.key()] if message.error() is None else 0.0


def _supervisor(race: Race, log: Path) -> Supervisor:
    settings = Settings(
        data_dir=race.folder / "data", kafka=KafkaSettings(bootstrap_servers=race.servers)
    )
    return Supervisor(
        str(pipeline_file(race)),
        race.name,
        settings,
        scorers=race.workers,
        monitor=False,
        environment=race.environment,
        log_file=log,
    )
