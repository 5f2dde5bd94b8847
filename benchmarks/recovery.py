"""Time to recover after the loss of a worker, and time to start a broker.

`stream-app up` runs two scorers under a constant stream of events. The recovery time ends when, on
every partition, an event sent after the worker's exit has an outcome visible to a reader of
committed records.
"""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen, TimeoutExpired

import psutil
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from benchmarks.cluster import Records
from benchmarks.contenders import (
    BEFORE,
    RunConfig,
    Setup,
    pipeline_file,
    spawn,
    stop,
    topics,
    worker_log,
)
from benchmarks.figures import Figures, ratios, spread
from benchmarks.observe import FAILURES, POLL_SECONDS, check_running, wait_until
from benchmarks.report import Report, Table
from benchmarks.startup import is_ready, run_file
from benchmarks.steady import Sender, outcome_reader
from benchmarks.throughput import all_have_partitions
from stream_app.broker import EmbeddedBroker

EVENTS_PER_SECOND = 400
# Time with both workers before one is lost.
PAUSE_SECONDS = 3.0
TIMEOUT_SECONDS = 120.0
STOP_SECONDS = 15.0
KILLED = "kill -9 to all partitions served"
RESTARTED = "SIGTERM to all partitions served"
SIGNALS = {KILLED: signal.SIGKILL, RESTARTED: signal.SIGTERM}
COLD, WARM = "embedded broker, new folder: start", "embedded broker, existing folder: start"
LOST_WORKER = "score-0"


def measure(setup: Setup, records: Records) -> Iterator[Report]:
    """Measures the start of brokers, then kills and terminates a worker of each build in turn.

    A round in which one fails is skipped.
    """
    starts = broker_starts(setup.folder, setup.rounds)
    losses = {name: {key: list[float]() for key in SIGNALS} for name in setup.ours}
    for number in range(setup.rounds):
        where = f"round {number + 1} of {setup.rounds}"
        try:
            seconds = {
                (name, key): lose_a_worker(_config(setup, number, name, key), key, records)
                for key in SIGNALS
                for name in losses
            }
        except FAILURES as error:
            setup.progress(f"{where}: skipped: {error}")
            continue
        for (name, key), value in seconds.items():
            losses[name][key].append(value)
            setup.progress(f"{where}: {name}: {key} {value:.1f} s")
        yield summary(losses, starts)


def _config(setup: Setup, number: int, name: str, key: str) -> RunConfig:
    """Returns the environment of a run with two workers; it has topics of its own."""
    return setup.config(f"recovery-{number}-{SIGNALS[key].name.lower()}", name)._replace(workers=2)


def summary(losses: dict[str, Figures], starts: Figures) -> Report:
    """Returns table and figures of the results, by contender."""
    figures = {**starts}
    for name, values in losses.items():
        figures |= {key if name == "ours" else f"{key}, {name}": values[key] for key in SIGNALS}
    if BEFORE in losses:
        for key in SIGNALS:
            figures[f"{key}, ours / {BEFORE}"] = ratios(losses["ours"][key], losses[BEFORE][key])
    rows = [
        (key, *(f"{spread(values[key]).text(1)} s" for values in losses.values()))
        for key in SIGNALS
    ]
    others = ("",) * (len(losses) - 1)
    rows += [(key, f"{spread(values).text(1)} s", *others) for key, values in starts.items()]
    return Report([Table("Recovery", ("", *losses), rows)], figures)


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


def lose_a_worker(config: RunConfig, key: str, records: Records) -> float:
    """Returns the seconds until all partitions are served again after a worker got a signal."""
    with topics(config), worker_log(config, "recovery") as log:
        system = RunningSystem(config, log, records)
        try:
            return system.lose_a_worker(SIGNALS[key])
        finally:
            system.close()


class RunningSystem:
    """Running workers, a stream of events, and a reader of their outcomes."""

    def __init__(self, config: RunConfig, log: Path, records: Records) -> None:
        self._config = config
        self._admin = AdminClient({"bootstrap.servers": config.servers, "log_level": 0})
        self._scored = config.outputs[0]
        command = [config.python, "-W", "ignore", "-m", "stream_app", "up"]
        options = ["--scorers", str(config.workers), "--no-monitor"]
        self._up = spawn(
            [*command, str(pipeline_file(config)), *options], log, config.environment, config.tree
        )
        self._sender = Sender(config, records, EVENTS_PER_SECOND)
        self._reader = outcome_reader(config)

    def lose_a_worker(self, signal_number: int) -> float:
        """Returns the seconds until the partitions of a stopped worker are served again."""
        self._sender.start_full_rate()
        wait_until(self._is_complete, [self._up], TIMEOUT_SECONDS)
        self._served_since(time.monotonic() + PAUSE_SECONDS)
        worker = psutil.Process(json.loads(run_file(self._config, LOST_WORKER).read_text())["pid"])
        signalled = time.monotonic()
        worker.send_signal(signal_number)
        # It may serve events until it has exited.
        worker.wait(TIMEOUT_SECONDS)
        return self._served_since(time.monotonic()) - signalled

    def close(self) -> None:
        """Stops workers, sender and reader."""
        self._sender.stop()
        _terminate(self._up)
        self._reader.close()

    def _is_complete(self) -> bool:
        """Returns True if all workers are ready and have partitions.

        The loss of an idle worker would take no time.
        """
        workers = (f"score-{number}" for number in range(self._config.workers))
        return all(is_ready(self._config, name) for name in workers) and all_have_partitions(
            self._admin, self._config, "ours"
        )

    def _served_since(self, moment: float) -> float:
        """Returns the time when every partition had an outcome of an event sent after `moment`."""
        waiting = set(range(self._config.partitions))
        deadline = moment + TIMEOUT_SECONDS
        while waiting:
            message = self._reader.poll(POLL_SECONDS)
            if (
                message is not None
                and message.topic() == self._scored
                and self._sent(message) > moment
            ):
                waiting.discard(message.partition())
            check_running([self._up])
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"partitions {sorted(waiting)} were not served for {TIMEOUT_SECONDS:.0f} s"
                )
        return time.monotonic()

    def _sent(self, message: Message) -> float:
        return self._sender.sent[message.key()] if message.error() is None else 0.0


def _terminate(process: Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except TimeoutExpired:
        stop([process])
