"""Starts the stream processors of `benchmarks.peers`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

from confluent_kafka import KafkaException

from benchmarks.cluster import EndOffsets, create, delete
from benchmarks.observe import BenchmarkError, Progress, wait_until
from benchmarks.workload import Workload
from stream_app import parent_death
from stream_app.kafka.topics import topic_specs
from stream_app.settings import Settings, TopicSettings

HERE = Path(__file__).resolve().parents[1]
"""Checkout of the program that runs."""

SCRIPTS = {
    "transactional": "transactional",
    "tuned": "tuned",
    "baseline": "baseline",
    "bytewax": "bytewax_flow",
    "quix": "quix",
    "quix-exactly-once": "quix",
    "faust": "faust_app",
}
"""Modules of `benchmarks.peers` by contender."""

BEFORE = "before"
"""An earlier commit of this project."""

OURS = ("ours", BEFORE)
CONTENDERS = ("ours", *SCRIPTS, BEFORE)
HAND_WRITTEN = ("transactional", "tuned")
EXACTLY_ONCE = (*OURS, *HAND_WRITTEN, "quix-exactly-once")
"""Contenders that commit at an interval and have one outcome for each event."""


class RunConfig(NamedTuple):
    """Environment of one run of a contender.

    Attributes:
        servers: bootstrap servers.
        folder: scratch folder.
        name: prefix of the topics.
        partitions: number of partitions of each topic.
        workers: number of processes.
        commit_ms: commit interval in milliseconds, for the contenders that have one.
        workload: payload and model.
        tree: checkout whose package is run, with its own environment in `.venv` unless it is this
            one.
    """

    servers: str
    folder: Path
    name: str
    partitions: int = 4
    workers: int = 1
    commit_ms: int = 100
    workload: Workload = Workload()
    tree: Path = HERE

    @property
    def raw(self) -> str:
        """Input topic."""
        return f"{self.name}.raw"

    @property
    def outputs(self) -> list[str]:
        """Output topics; every event has one outcome in one of them."""
        return [f"{self.name}.scored", f"{self.name}.raw.dlq"]

    def group(self, contender: str) -> str:
        """Returns the contender's consumer group."""
        return f"{self.name}.score" if contender in OURS else f"{self.name}.scored"

    @property
    def python(self) -> str:
        """Python interpreter of the tree."""
        return sys.executable if self.tree == HERE else str(self.tree / ".venv" / "bin" / "python")

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a `stream-app` command."""
        return {
            **os.environ,
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "STREAM_APP_DATA_DIR": str(self.folder / "data"),
            "STREAM_APP_TOPICS__PARTITIONS": str(self.partitions),
            "STREAM_APP_WORKER__COMMIT_INTERVAL_MS": str(self.commit_ms),
            "STREAM_APP_LOG__LEVEL": "warning",
            "PYTHONPATH": os.pathsep.join([str(self.tree), os.environ.get("PYTHONPATH", "")]),
            **self.workload.environment,
        }


class Setup(NamedTuple):
    """Settings that all benchmarks of one call share.

    Attributes:
        servers: bootstrap servers.
        folder: scratch folder.
        rounds: number of rounds of each comparison.
        progress: prints a progress message.
        before: checkout of an earlier commit to compare with, or None.
    """

    servers: str
    folder: Path
    rounds: int
    progress: Progress
    before: Path | None = None

    @property
    def ours(self) -> tuple[str, ...]:
        """This build, and the earlier one if there is one."""
        return OURS if self.before else OURS[:1]

    def config(self, name: str, contender: str) -> RunConfig:
        """Returns the environment of a contender; `name` is unique in this call."""
        tree = self.before if contender == BEFORE and self.before else HERE
        return RunConfig(self.servers, self.folder, f"{name}-{contender}", tree=tree)


@contextmanager
def topics(config: RunConfig) -> Iterator[None]:
    """Creates all topics of a pipeline, and deletes them at the end."""
    settings = Settings(topics=TopicSettings(partitions=config.partitions))
    names = {spec.name: spec.partitions for spec in topic_specs(config.name, settings)}
    create(config.servers, names)
    try:
        yield
    finally:
        delete(config.servers, list(names))


@contextmanager
def running_contender(config: RunConfig, contender: str) -> Iterator[list[Popen[bytes]]]:
    """Runs a contender's processes, and kills them at the end.

    Raises:
        BenchmarkError: the contender failed; with the last line of its log.
    """
    with worker_log(config, contender) as log:
        processes = (
            start_ours(config, log) if contender in OURS else _start_peer(config, contender, log)
        )
        try:
            yield processes
        finally:
            stop(processes)


@contextmanager
def worker_log(config: RunConfig, contender: str) -> Iterator[Path]:
    """Yields the log file of a contender's processes; errors get its last line appended."""
    log = config.folder / f"{config.name}.log"
    try:
        yield log
    except (BenchmarkError, KafkaException, TimeoutError) as error:
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        last_line = next((line for line in reversed(lines) if line.strip()), "")
        raise BenchmarkError(
            f"{contender}: {error or type(error).__name__}; last log line: {last_line or 'none'}"
        ) from None


def stop(processes: list[Popen[bytes]]) -> None:
    """Kills processes and waits for their exit."""
    for process in processes:
        process.kill()
        process.wait()


def start_ours(config: RunConfig, log: Path, program: str = "stream_app") -> list[Popen[bytes]]:
    """Starts scorers after a learner has published version 0 and stopped."""
    worker = worker_command(config, program)
    publish_untrained(config, spawn([*worker, "learn"], log, config.environment, config.tree))
    return [start_scorer(config, log, number, program) for number in range(config.workers)]


def start_scorer(
    config: RunConfig, log: Path, instance: int = 0, program: str = "stream_app"
) -> Popen[bytes]:
    """Starts a scorer, for which a version must have been published."""
    command = [*worker_command(config, program), "score", "--instance", str(instance)]
    return spawn(command, log, config.environment, config.tree)


def worker_command(config: RunConfig, program: str = "stream_app") -> list[str]:
    """Returns the command that runs a worker, up to the value of `--role`."""
    return [
        config.python,
        "-W",
        "ignore",
        "-m",
        program,
        "worker",
        str(pipeline_file(config)),
        "--role",
    ]


def pipeline_file(config: RunConfig) -> Path:
    """Writes the pipeline's declaration and returns its path."""
    file = config.folder / f"{config.name.replace('-', '_')}.py"
    file.write_text(f"from benchmarks.peers.ours import make\n\npipeline = make({config.name!r})\n")
    return file


def spawn(
    command: list[str], log: Path, environment: dict[str, str], folder: Path | None = None
) -> Popen[bytes]:
    """Starts a process in `folder` that ends with this process and ignores its Ctrl-C."""
    bound = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())]
    with log.open("ab") as output:
        return Popen(
            [*bound, *command],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )


def _start_peer(config: RunConfig, contender: str, log: Path) -> list[Popen[bytes]]:
    script = [sys.executable, "-W", "ignore", "-m", f"benchmarks.peers.{SCRIPTS[contender]}"]
    command = [
        *script,
        config.servers,
        config.raw,
        *config.outputs,
        *_further_arguments(config, contender),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": config.environment["PYTHONPATH"],
        **config.workload.environment,
    }
    return [spawn(command, log, environment, config.folder) for _ in range(config.workers)]


def _further_arguments(config: RunConfig, contender: str) -> tuple[str, ...]:
    if contender in HAND_WRITTEN:
        return (f"{config.name}.score.state", str(config.commit_ms))
    if contender == "quix-exactly-once":
        return (str(config.commit_ms),)
    return ()


def publish_untrained(config: RunConfig, learner: Popen[bytes]) -> None:
    """Waits until a learner has published version 0, and stops it."""
    models = EndOffsets(config.servers, [f"{config.name}.models"])
    try:
        wait_until(lambda: sum(models.now()), [learner])
    finally:
        stop([learner])
