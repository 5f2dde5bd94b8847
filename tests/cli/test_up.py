"""`stream-app up` and `worker` in real processes, with a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.errors import FencedError, PipelineError, TopicsError
from tests.in_process import run_in_process
from tests.patience import PATIENCE
from tests.running_system import ROOT
from tests.transfer.clusters import unique_name


class Command:
    """Runs `stream-app` with its own data folder and pipeline."""

    def __init__(self, folder: Path, broker: EmbeddedBroker) -> None:
        self.name = unique_name()
        self.pipeline = folder / "declared.py"
        self.pipeline.write_text(
            "from tests.small_pipeline import small_pipeline\n"
            f"pipeline = small_pipeline('{self.name}')\n"
        )
        self.run_folder = folder / "data" / "run" / self.name
        self.environment = os.environ | {
            "STREAM_APP_DATA_DIR": str(folder / "data"),
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "STREAM_APP_TOPICS__PARTITIONS": "2",
        }
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_app", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def fails(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and the last error line of a command that ends in this process."""
        done = run_in_process(*arguments, environment=self.environment)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr.splitlines()[-1]

    def fails_in_its_process(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and the last error line of a command in its own process."""
        process = self.start(*arguments)
        _, errors = process.communicate(timeout=60 * PATIENCE)
        assert "Traceback" not in errors
        return process.returncode, errors.splitlines()[-1]

    def create_topics(self) -> None:
        done = run_in_process("topics", "create", str(self.pipeline), environment=self.environment)
        assert done.returncode == 0

    def ready(self, *workers: str, timeout: float = 60.0) -> None:
        """Wait until these workers are ready."""
        deadline = time.monotonic() + timeout * PATIENCE
        for worker in workers:
            while not self._is_ready(worker):
                assert time.monotonic() < deadline, f"{worker} does not get ready"
                time.sleep(0.2)

    def _is_ready(self, worker: str) -> bool:
        try:
            run = json.loads((self.run_folder / f"{worker}.json").read_text())
            with urlopen(f"http://127.0.0.1:{run['port']}/readyz", timeout=60) as answer:
                return bool(answer.status == 200)
        except (FileNotFoundError, URLError, ConnectionError, TimeoutError):
            return False

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def command(tmp_path: Path, broker: EmbeddedBroker) -> Iterator[Command]:
    made = Command(tmp_path, broker)
    yield made
    made.close()


@pytest.mark.broker
def test_up_runs_everything_until_ctrl_c(command: Command) -> None:
    process = command.start("up", str(command.pipeline), "--scorers", "2")
    command.ready("score-0", "score-1", "learn-0", "monitor-0")
    children = psutil.Process(process.pid).children()
    workers = [child for child in children if "worker" in child.cmdline()]
    watchers = [child for worker in workers for child in worker.children(recursive=True)]
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20 * PATIENCE)
    assert process.returncode == 0, errors
    assert time.monotonic() - began < 10 * PATIENCE
    assert len(workers) == 4
    assert watchers
    left = [process for process in (*workers, *watchers) if process.is_running()]
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["worker"] for line in lines if line["event"] == "worker started"] == [
        "score-0", "score-1", "learn-0", "monitor-0",
    ]  # fmt: skip


@pytest.mark.broker
def test_up_rejects_another_partition_count(command: Command) -> None:
    command.create_topics()
    command.environment["STREAM_APP_TOPICS__PARTITIONS"] = "3"
    code, line = command.fails("up", str(command.pipeline))
    assert code == TopicsError.exit_code
    assert "has 2 partitions and the settings ask for 3: keys would move" in line


@pytest.mark.broker
def test_a_worker_without_topics_names_the_command_that_creates_them(command: Command) -> None:
    code, line = command.fails_in_its_process("worker", str(command.pipeline), "--role", "score")
    assert code == TopicsError.exit_code
    assert "stream-app topics create" in line


@pytest.mark.broker
def test_a_second_worker_of_one_instance_is_rejected(command: Command) -> None:
    command.create_topics()
    command.start("worker", str(command.pipeline), "--role", "learn")
    command.ready("learn-0")
    code, line = command.fails_in_its_process("worker", str(command.pipeline), "--role", "learn")
    assert code == FencedError.exit_code
    assert "already running" in line


@pytest.mark.broker
def test_a_missing_pipeline_file_is_one_line(command: Command) -> None:
    code, line = command.fails("up", "nowhere/pipeline.py")
    assert code == PipelineError.exit_code
    assert "nowhere/pipeline.py cannot be read" in line
