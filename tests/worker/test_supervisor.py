"""The supervisor restarts and stops worker processes that replace real workers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stream_app.errors import (
    FencedError,
    KafkaUnavailableError,
    RegistryError,
    StreamAppError,
    TopicsError,
)
from stream_app.lifecycle.up import run_up
from stream_app.settings import KafkaSettings, RegistrySettings, Settings
from stream_app.worker import supervisor as module
from stream_app.worker.supervisor import Supervisor
from tests.patience import PATIENCE
from tests.worker import tiny_worker

Make = Callable[..., Supervisor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Creates supervisors of tiny workers: Python runs `sitecustomize` before the program."""
    shutil.copy(tiny_worker.__file__, tmp_path / "sitecustomize.py")
    made: list[Supervisor] = []

    def supervisor(behaviour: str, scorers: int = 1) -> Supervisor:
        environment = {"PYTHONPATH": str(tmp_path), "TINY": behaviour, "TINY_FOLDER": str(tmp_path)}
        settings = Settings(data_dir=tmp_path)
        log_file = tmp_path / "workers.log"
        made.append(
            Supervisor(
                "tiny.py",
                "tiny",
                settings,
                scorers,
                environment=environment,
                log_file=log_file,
                monitor=False,
            )
        )
        return made[-1]

    yield supervisor
    for one in made:
        one.stop()


def starts(folder: Path) -> list[str]:
    """Return the names of the workers in the order of their starts."""
    return [line.split()[0] for line in (folder / "starts").read_text().splitlines()]


def supervise(supervisor: Supervisor, until: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout * PATIENCE
    while not until():
        assert time.monotonic() < deadline, "this took too long"
        supervisor.supervise()
        time.sleep(0.02)


def pids(supervisor: Supervisor) -> list[int]:
    return [worker.process.pid for worker in supervisor.workers if worker.process]


def exit_codes(supervisor: Supervisor) -> set[int | None]:
    return {worker.process.returncode for worker in supervisor.workers if worker.process}


def test_every_worker_is_started_and_stopped(make: Make, tmp_path: Path) -> None:
    supervisor = make("ready", scorers=2)
    supervisor.start()
    assert supervisor.wait_ready(20 * PATIENCE)
    assert sorted(starts(tmp_path)) == ["learn-0", "score-0", "score-1"]
    running = pids(supervisor)
    supervisor.stop()
    assert exit_codes(supervisor) == {-signal.SIGTERM}
    assert not any(psutil.pid_exists(pid) for pid in running)
    assert supervisor.restarts == 0


def test_only_a_killed_worker_is_restarted(make: Make) -> None:
    supervisor = make("ready", scorers=2)
    supervisor.start()
    assert supervisor.wait_ready(20 * PATIENCE)
    before = pids(supervisor)
    os.kill(before[0], signal.SIGKILL)
    supervise(supervisor, lambda: supervisor.restarts == 1)
    assert supervisor.wait_ready(20 * PATIENCE)
    assert pids(supervisor)[1:] == before[1:]
    assert supervisor.failed is None


def test_the_delay_grows_each_time_a_worker_ends_soon(make: Make, tmp_path: Path) -> None:
    supervisor = make("exit:70")
    supervisor.start()
    supervise(
        supervisor,
        lambda: (tmp_path / "starts").exists() and starts(tmp_path).count("learn-0") == 3,
    )
    times = [
        float(line.split()[1])
        for line in (tmp_path / "starts").read_text().splitlines()
        if line.startswith("learn")
    ]
    # A start takes longer on a slow machine, but no restart comes before its time.
    assert times[1] - times[0] > 0.4
    assert times[2] - times[1] > 0.9
    worker = next(worker for worker in supervisor.workers if worker.role == "learn")
    assert worker.delay in (4 * module.FIRST_DELAY, 8 * module.FIRST_DELAY)
    assert supervisor.failed is None


def test_a_permanent_error_ends_the_supervisor(make: Make) -> None:
    supervisor = make(f"exit:{TopicsError.exit_code}")
    supervisor.start()
    assert not supervisor.wait_ready(20 * PATIENCE)
    assert isinstance(supervisor.failed, TopicsError)
    assert "workers.log" in supervisor.failed.remedy
    seen = [worker.starts for worker in supervisor.workers]
    time.sleep(1)
    supervisor.supervise()
    assert [worker.starts for worker in supervisor.workers] == seen


def test_a_fenced_worker_is_restarted(make: Make, tmp_path: Path) -> None:
    supervisor = make(f"exit:{FencedError.exit_code}")
    supervisor.start()
    supervise(supervisor, lambda: supervisor.restarts >= 2)
    assert supervisor.failed is None


def test_a_worker_that_ignores_sigterm_is_killed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.5)
    supervisor = make("stubborn")
    supervisor.start()
    assert supervisor.wait_ready(20 * PATIENCE)
    running = pids(supervisor)
    supervisor.stop()
    assert exit_codes(supervisor) == {-signal.SIGKILL}
    assert not any(psutil.pid_exists(pid) for pid in running)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent death signal")
def test_workers_end_with_a_killed_supervisor(make: Make, tmp_path: Path) -> None:
    program = (
        "import json, sys, time; from pathlib import Path\n"
        "from stream_app.settings import Settings\n"
        "from stream_app.worker.supervisor import Supervisor\n"
        "from stream_app.telemetry.logs import setup_logging\n"
        "folder, settings = Path(sys.argv[1]), Settings(data_dir=sys.argv[1])\n"
        "setup_logging(settings.log)\n"
        "environment = {'PYTHONPATH': str(folder), 'TINY': 'stubborn'}\n"
        "environment['TINY_FOLDER'] = str(folder)\n"
        "s = Supervisor('tiny.py', 'tiny', settings, environment=environment, monitor=False)\n"
        "s.start(); assert s.wait_ready(100)\n"
        "print(json.dumps([worker.process.pid for worker in s.workers]), flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        workers = json.loads(process.stdout.readline())
        process.kill()
    assert len(workers) == 2
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], timeout=5 * PATIENCE
    )
    assert not alive


def test_every_permanent_error_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in StreamAppError.__subclasses__()]
    assert len(codes) == len(set(codes))


def test_up_registers_avro_schemas_first(
    tmp_path: Path,
) -> None:
    pipeline = tmp_path / "declared.py"
    pipeline.write_text(
        "from tests.small_pipeline import small_pipeline\n"
        'pipeline = small_pipeline("up-avro", format="avro")\n'
    )
    unreachable = Settings(data_dir=tmp_path, kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(RegistryError, match="STREAM_APP_REGISTRY__URL"):
        run_up(str(pipeline), unreachable, scorers=1, monitor=False)
    (tmp_path / "schemas").mkdir()
    registry = RegistrySettings(url=(tmp_path / "schemas").as_uri())
    with pytest.raises(KafkaUnavailableError):
        run_up(
            str(pipeline),
            unreachable.model_copy(update={"registry": registry}),
            scorers=1,
            monitor=False,
        )
    assert len(list((tmp_path / "schemas").glob("*-up-avro.*-value.avsc"))) == 4
