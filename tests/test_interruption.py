"""Ctrl-C is raised wherever it arrives: also in what native code calls."""

import signal
import subprocess
import sys

import pytest

from tests.patience import PATIENCE

PROGRAM = """
import functools, signal, time
from stream_app.interruption import InterruptHandler, uninterrupted
from stream_app.kafka.clients import make_consumer

def press():
    print("pressed", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("the function ended", flush=True)

class Pressing:
    def __call__(self, *_):
        press()
    def method(self, *_):
        press()

class Finalized:
    def __del__(self):
        press()

handler = InterruptHandler()
handler.install()
try:
    {press}
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", handler.has_been_called)
"""

CONSUMER = """
config = {{"bootstrap.servers": "127.0.0.1:1", "statistics.interval.ms": 200}}
consumer = make_consumer(config | {{"{name}": {value}}})
while True:
    consumer.{poll}
"""


def run(press: str) -> list[str]:
    """Return the lines of a program that presses Ctrl-C in a piece of code."""
    program = PROGRAM.format(press=press.strip().replace("\n", "\n    "))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
        check=True,
        # Background jobs of a shell ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "value", "poll"),
    [
        ("stats_cb", "Pressing()", "consume(10, .1)"),
        ("stats_cb", "Pressing().method", "poll(.1)"),
        ("error_cb", "functools.partial(Pressing().method, 1)", "consume(10, .1)"),
        ("error_cb", "Pressing()", "poll(.1)"),
    ],
)
def test_a_function_that_a_client_calls_ends_before_the_interruption(
    name: str, value: str, poll: str
) -> None:
    lines = run(CONSUMER.format(name=name, value=value, poll=poll))
    assert lines[:2] == ["pressed", "the function ended"]
    assert lines[-1] == "interrupted True"


def test_an_interruption_that_a_finalizer_ignored_is_raised_again() -> None:
    assert run("Finalized()") == ["pressed", "interrupted True"]


def test_other_code_is_interrupted_at_once() -> None:
    assert run("press()") == ["pressed", "interrupted True"]


def test_an_ignored_signal_stays_ignored() -> None:
    lines = run("signal.signal(signal.SIGINT, signal.SIG_IGN); handler.install(); press(); exit()")
    assert lines == ["pressed", "the function ended"]
