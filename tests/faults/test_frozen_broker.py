"""Commands that follow a pipeline survive a frozen broker, and then continue."""

import os
import signal
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.freezing import FROZEN_SECONDS, SHORT_SECONDS, freeze
from tests.forked_process import WorkerProcess, start_process
from tests.running_system import System

COMMANDS = [
    "status PIPELINE --watch --json",
    "consume PIPELINE scored --json",
    "consume PIPELINE raw --follow --json",
    "consume PIPELINE dead-letters --json",
]
COPIES = 20
FREEZES = 4
THAWED_SECONDS = 6.0
RECOVERY_SECONDS = 60.0


class Followers:
    """Copies of commands that follow a pipeline, each with a log of its own."""

    def __init__(self, system: System, commands: list[str], copies: int) -> None:
        self.system = system
        self.processes: dict[Path, WorkerProcess] = {}
        environment = {
            "STREAM_APP_DATA_DIR": str(system.settings.data_dir),
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": system.servers,
        }
        for number, command in enumerate(commands * copies):
            log = system.folder / f"follower-{number}.log"
            words = [str(system.pipeline) if w == "PIPELINE" else w for w in command.split()]
            self.processes[log] = start_process(words, os.environ | environment, log)

    def await_output(self, why: str) -> None:
        """Waits until each command has written JSON again, while records are sent."""
        before = {log: log.stat().st_size for log in self.processes}

        def have_written() -> bool:
            for number in range(4):
                self.system.send_event(time.time_ns(), int(time.time() * 1000) - 1000 * number)
                self.system.send("raw", b"not a record", b"%d" % number)
            return all(b'{"' in log.read_bytes()[size:] for log, size in before.items())

        self.system.until(have_written, RECOVERY_SECONDS, why)

    def check_alive(self) -> None:
        for log, process in self.processes.items():
            assert process.poll() is None, (process.poll(), log.read_text()[-2000:])

    def interrupt(self) -> None:
        """Ends the commands as Ctrl-C does, each with the exit code of an interruption."""
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        codes = {log: self._end(process) for log, process in self.processes.items()}
        for log, code in codes.items():
            assert code == 130, (code, log.read_text()[-2000:])

    def _end(self, process: WorkerProcess) -> int:
        try:
            return process.wait(30)
        except (subprocess.TimeoutExpired, TimeoutError):
            process.kill()
            raise


def follow_through(
    broker: EmbeddedBroker, folder: Path, commands: list[str], copies: int, freezes: list[float]
) -> None:
    """Freezes the broker under followers, which must all live and show new records."""
    with System(broker.bootstrap_servers, folder, f"frozen-{uuid4().hex[:8]}") as system:
        system.start_all()
        followers = Followers(system, commands, copies)
        try:
            followers.await_output("a command shows nothing")
            for seconds in freezes:
                freeze(broker, seconds)
                time.sleep(THAWED_SECONDS)
                followers.check_alive()
            followers.await_output("a command shows nothing after the freeze")
            followers.check_alive()
            followers.interrupt()
            for name, worker in system.workers.items():
                assert worker.poll() is None, (worker.poll(), system.log(name))
        finally:
            for process in followers.processes.values():
                if process.poll() is None:
                    process.kill()


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_copy_of_a_following_command_crashes_on_a_broker_that_freezes_four_times(
    own_broker: EmbeddedBroker, tmp_path: Path, command: str
) -> None:
    follow_through(own_broker, tmp_path, [command], COPIES, [FROZEN_SECONDS] * FREEZES)


def test_following_commands_and_workers_survive_a_frozen_broker(
    own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    follow_through(own_broker, tmp_path, COMMANDS, 1, [SHORT_SECONDS])
