"""A command that is the first process of a container gets all signals, and leaves no orphans."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.running_system import ROOT

PROGRAM = """
import os, signal, subprocess, sys, time
from stream_app.cli.first_process import leave_first_process

leave_first_process()
BODY
"""


def namespace() -> list[str]:
    """Return the words before a command that run it as the first process of a namespace."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid():
        words += ["--user", "--map-root-user"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not create namespaces")
    return words


def start(body: str, before: str = "") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*namespace(), sys.executable, "-c", before + PROGRAM.replace("BODY", body)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("code", [0, 3, 70])
def test_the_exit_code_is_that_of_the_command(code: int) -> None:
    with start(f"print(os.getpid(), os.getppid()); sys.exit({code})") as process:
        assert process.communicate(timeout=30)[0] == "2 1\n"
    assert process.returncode == code


def test_a_child_can_kill_the_command() -> None:
    """The watchdog does so with a worker that hangs."""
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    body = f"subprocess.Popen([sys.executable, '-c', {kill!r}]); time.sleep(60)"
    with start(body) as process:
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL


def test_sigterm_reaches_the_command() -> None:
    body = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\nwhile True: time.sleep(0.05)"
    )
    with start(body) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (first,) = children(process.pid)
        os.kill(first, signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 7


def test_a_signal_right_after_the_fork_is_forwarded() -> None:
    """The command may run, and be told to end, before the first process waits for signals."""
    body = "time.sleep(60)"
    slow_waiting = (
        "import signal as module, time\n"
        "wait = module.sigwait\n"
        "module.sigwait = lambda numbers: (time.sleep(0.3), wait(numbers))[1]\n"
        "import os\nfork = os.fork\n"
        "def fork_and_say():\n"
        "    child = fork()\n"
        "    if child:\n        print('forked', flush=True)\n"
        "    return child\n"
        "os.fork = fork_and_say\n"
    )
    with start(body, before=slow_waiting) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        (first,) = children(process.pid)
        os.kill(first, signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


def test_orphans_are_awaited() -> None:
    orphan = "import os; os.fork() or os._exit(0)"
    body = (
        f"subprocess.run([sys.executable, '-c', {orphan!r}])\n"
        "deadline = time.monotonic() + 20\n"
        "while time.monotonic() < deadline and len([n for n in os.listdir('/proc')"
        " if n.isdigit()]) > 2:\n    time.sleep(0.05)\n"
        "print(len([n for n in os.listdir('/proc') if n.isdigit()]))"
    )
    with start(body) as process:
        assert process.communicate(timeout=40)[0] == "2\n"


def test_any_other_process_does_not_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("BODY", "print(os.getppid())")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{os.getpid()}\n"


def children(parent: int) -> list[int]:
    """Return the process ids of the children."""
    deadline = time.monotonic() + 10 * PATIENCE
    path = Path(f"/proc/{parent}/task/{parent}/children")
    while not (found := path.read_text().split()):
        assert time.monotonic() < deadline
    return [int(child) for child in found]
