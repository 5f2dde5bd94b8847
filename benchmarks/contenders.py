"""How each stream processor of `benchmarks.peers` is started, and which topics it writes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from confluent_kafka import KafkaException

from benchmarks.cluster import Ends, create, delete
from benchmarks.observe import BenchmarkError, until
from stream_app.broker import parent_death
from stream_app.kafka.topics import topic_specs
from stream_app.settings import Settings, TopicSettings

SCRIPTS = {
    "transactional": "transactional",
    "bare": "bare",
    "bytewax": "bytewax_flow",
    "quix": "quix",
    "faust": "faust_app",
}
CONTENDERS = ("ours", *SCRIPTS)


class Race(NamedTuple):
    """What a contender finds: the broker, a folder, the name of its topics, and how many partitions and workers."""

    servers: str
    folder: Path
    name: str
    partitions: int = 4
    workers: int = 1
    commit_ms: int = 100

    @property
    def raw(self) -> str:
        """The topic that it reads."""
        return f"{self.name}.raw"

    @property
    def outputs(self) -> list[str]:
        """The topics in which every event has an outcome."""
        return [f"{self.name}.scored", f"{self.name}.raw.dlq"]

    def group(self, contender: str) -> str:
        """Its consumer group."""
        return f"{self.name}-score" if contender == "ours" else f"{self.name}.scored"

    @property
    def environment(self) -> dict[str, str]:
        """What a command of ours needs to know."""
        return {
            **os.environ,
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "STREAM_APP_DATA_DIR": str(self.folder / "data"),
            "STREAM_APP_TOPICS__PARTITIONS": str(self.partitions),
            "STREAM_APP_WORKER__COMMIT_INTERVAL_MS": str(self.commit_ms),
            "STREAM_APP_LOG__LEVEL": "warning",
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        }


@contextmanager
def topics(race: Race) -> Iterator[None]:
    """The topics of a pipeline of ours, of which the others use some; removed again."""
    settings = Settings(topics=TopicSettings(partitions=race.partitions))
    names = {spec.name: spec.partitions for spec in topic_specs(race.name, settings)}
    create(race.servers, names)
    try:
        yield
    finally:
        delete(race.servers, list(names))


@contextmanager
def running(race: Race, contender: str) -> Iterator[list[Popen[bytes]]]:
    """The processes of a contender, killed at the end; `BenchmarkError` says what a failed one said last."""
    with logged(race, contender) as log:
        processes = (
            start_ours(race, log) if contender == "ours" else _start_peer(race, contender, log)
        )
        try:
            yield processes
        finally:
            stop(processes)


@contextmanager
def logged(race: Race, contender: str) -> Iterator[Path]:
    """Where its processes write; when it fails, the last line of that is told."""
    log = race.folder / f"{race.name}.log"
    try:
        yield log
    except (BenchmarkError, KafkaException, TimeoutError) as error:
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        said = next((line for line in reversed(lines) if line.strip()), "nothing")
        raise BenchmarkError(
            f"{contender}: {error or type(error).__name__}; it last said: {said}"
        ) from None


def stop(processes: list[Popen[bytes]]) -> None:
    """Kill, and wait until they are gone."""
    for process in processes:
        process.kill()
        process.wait()


def start_ours(race: Race, log: Path, program: str = "stream_app") -> list[Popen[bytes]]:
    """The score role as `stream-app worker` runs it; the learner has published version 0 and is gone."""
    worker = worker_command(race, program)
    _publish_untrained(race, spawn([*worker, "learn"], log, race.environment))
    scorers = range(race.workers)
    return [
        spawn([*worker, "score", "--instance", str(number)], log, race.environment)
        for number in scorers
    ]


def worker_command(race: Race, program: str = "stream_app") -> list[str]:
    """A worker of the race's pipeline; its role comes behind."""
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        program,
        "worker",
        str(pipeline_file(race)),
        "--role",
    ]


def pipeline_file(race: Race) -> Path:
    """Where the race's pipeline is declared."""
    file = race.folder / f"{race.name.replace('-', '_')}.py"
    file.write_text(f"from benchmarks.peers.ours import make\n\npipeline = make({race.name!r})\n")
    return file


def spawn(
    command: list[str], log: Path, environment: dict[str, str], folder: Path | None = None
) -> Popen[bytes]:
    """A process, in `folder`, that dies with this one, however it ends, and that Ctrl-C does not reach."""
    binding = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())]
    with log.open("ab") as output:
        return Popen(
            [*binding, *command],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )


def _start_peer(race: Race, contender: str, log: Path) -> list[Popen[bytes]]:
    state = [f"{race.name}.score.state"] if contender == "transactional" else []
    script = [sys.executable, "-W", "ignore", "-m", f"benchmarks.peers.{SCRIPTS[contender]}"]
    command = [*script, race.servers, race.raw, *race.outputs, *state]
    environment = {**os.environ, "PYTHONPATH": race.environment["PYTHONPATH"]}
    return [spawn(command, log, environment, race.folder) for _ in range(race.workers)]


def _publish_untrained(race: Race, learner: Popen[bytes]) -> None:
    models = Ends(race.servers, [f"{race.name}.models"])
    try:
        until(lambda: sum(models.now()), [learner])
    finally:
        stop([learner])
