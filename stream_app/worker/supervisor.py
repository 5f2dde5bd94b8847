"""The workers of a pipeline on one machine: restarted when they die, and stopped together."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from stream_app.broker import parent_death
from stream_app.errors import FencedError, KafkaUnavailableError, StoreError, StreamAppError
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.worker.quarantine.journal import last_words
from stream_app.worker.run_folder import read_ending

log = get_logger(__name__)

FIRST_DELAY = 0.5  # seconds before a dead worker is started again; doubled each time it dies young
LONGEST_DELAY = 30.0
HEALTHY_SECONDS = 60.0  # after which a worker counts as well again
STOP_SECONDS = 8.0
POLL_SECONDS = 0.1

# Another start may cure these.
_PASSING = {kind.exit_code for kind in (FencedError, KafkaUnavailableError, StoreError)}
_PERMANENT = {
    kind.exit_code: kind
    for kind in StreamAppError.__subclasses__()
    if kind.exit_code not in _PASSING
}


@dataclass(slots=True)
class Child:
    """One worker, and how often it had to be started again."""

    role: str
    instance: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    starts: int = 0
    delay: float = FIRST_DELAY
    due: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.role}-{self.instance}"


@dataclass(slots=True)
class Supervisor:
    """The workers of a pipeline as child processes, which the kernel kills when this one ends, however (Linux).

    `pipeline` is as on the command line, `name` what it is called; `environment` is added to the workers' own, None
    takes a variable away. `failed` is the error of a worker that only a person can help. Use it in the main thread:
    children are tied to the thread that started them.
    """

    pipeline: str
    name: str
    settings: Settings
    scorers: int = 1
    monitor: bool = True
    environment: Mapping[str, str | None] = field(default_factory=dict)
    log_file: Path | None = None
    children: list[Child] = field(default_factory=list)
    failed: StreamAppError | None = None

    def start(self) -> None:
        """Start every worker."""
        self.children = [Child("score", str(number)) for number in range(self.scorers)] + [
            Child("learn", "0")
        ]
        if self.monitor:
            self.children.append(Child("monitor", "0"))
        self.tend()

    def tend(self) -> None:
        """Start what is due, note what has died; to be called often."""
        for child in self.children:
            code = child.process.poll() if child.process else None
            if code is not None:
                self._note_death(child, code)
            if child.process is None and self.failed is None and time.monotonic() >= child.due:
                self._start(child)

    def wait_ready(self, timeout: float) -> bool:
        """Tend until every worker answers that it is ready; False after `timeout` seconds or when one has failed."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.failed is None:
            self.tend()
            if self.is_ready():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def is_ready(self) -> bool:
        """Whether every worker answers that it is ready."""
        return all(self.ask(child, "/readyz") for child in self.children)

    @property
    def restarts(self) -> int:
        """How often a worker had to be started again."""
        return sum(max(0, child.starts - 1) for child in self.children)

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to what has not ended after 8 s."""
        running = [
            child.process
            for child in self.children
            if child.process and child.process.poll() is None
        ]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        log.info("stopped", workers=len(running))

    def _start(self, child: Child) -> None:
        binding = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid())]
        worker = [sys.executable, "-m", "stream_app", "worker", self.pipeline]
        for suffix in ("json", "ended"):
            self._run_file(child, suffix).unlink(missing_ok=True)
        target = self.log_file.open("ab") if self.log_file else None
        child.process = subprocess.Popen(
            [*binding, *worker, "--role", child.role, "--instance", child.instance],
            env={
                name: value
                for name, value in {**os.environ, **self.environment}.items()
                if value is not None
            },
            stdin=subprocess.DEVNULL,
            stdout=target or sys.stderr,
            stderr=target or sys.stderr,
            start_new_session=True,  # Ctrl-C at the terminal is ours to pass on
        )
        if target is not None:
            target.close()
        child.started = time.monotonic()
        child.starts += 1
        log.info("worker started", worker=child.name, pid=child.process.pid, starts=child.starts)

    def _note_death(self, child: Child, code: int) -> None:
        """Decide when to try again, or that there is no point; a record that ends its worker shall not keep it away."""
        pid = child.process.pid if child.process else 0
        child.process = None
        if last_words(self._run_file(child, "journal"), pid):
            child.due = time.monotonic() + FIRST_DELAY
            log.warning(
                "worker died of a record",
                worker=child.name,
                code=code,
                again_in_seconds=FIRST_DELAY,
            )
            return
        if time.monotonic() - child.started > HEALTHY_SECONDS:
            child.delay = FIRST_DELAY
        child.due = time.monotonic() + child.delay
        log.warning("worker died", worker=child.name, code=code, again_in_seconds=child.delay)
        child.delay = min(child.delay * 2, LONGEST_DELAY)
        kind = _PERMANENT.get(code)
        if kind is not None and self.failed is None:
            where = self.log_file or "the lines above"
            unknown = (
                f"Worker {child.name} of {self.name} cannot go on",
                f"Its last line says why: see {where}",
            )
            self.failed = kind(*(read_ending(self._run_file(child, "ended")) or unknown))

    def ask(self, child: Child, path: str) -> str | None:
        """What a worker answers over HTTP; None when it does not, or not with 200."""
        with suppress(OSError, ValueError, KeyError):
            run = json.loads(self._run_file(child).read_text())
            with urlopen(f"http://{run['host']}:{run['port']}{path}", timeout=1) as answer:
                return str(answer.read().decode())
        return None

    def _run_file(self, child: Child, suffix: str = "json") -> Path:
        return self.settings.data_dir / "run" / self.name / f"{child.name}.{suffix}"
