"""Runs `stream-app` in the process of the test, which is much cheaper than starting another."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

import structlog
from typer.testing import CliRunner

from stream_app.cli import main
from stream_app.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]


def run_in_process(
    *arguments: str,
    typed: str = "",
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Return the exit code and the output of a command.

    Args:
        arguments: words after `stream-app`.
        typed: standard input.
        folder: working directory.
        environment: variables besides those of this process.
    """
    with (
        chdir(folder),
        _restored(),
        CliRunner().isolation(input=typed, env=environment) as (output, errors, _),
    ):
        sys.argv = ["stream-app", *arguments]
        code = _exit_code()
        sys.stdout.flush()
        sys.stderr.flush()
        found = output.getvalue().decode(), errors.getvalue().decode()
    return subprocess.CompletedProcess(arguments, code, *found)


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return int(str(ended.code or 0))


@contextmanager
def _restored() -> Iterator[None]:
    """Undo what commands change in their process: settings, logging, signals, variables."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root, package = logging.getLogger(), logging.getLogger("stream_app")
    logs = list(root.handlers), root.level, package.level, structlog.get_config()
    words, environment = sys.argv, dict(os.environ)
    load_settings.cache_clear()
    try:
        yield
    finally:
        load_settings.cache_clear()
        sys.argv = words
        os.environ.clear()
        os.environ.update(environment)
        logging.captureWarnings(False)
        root.handlers[:], level, package_level, configuration = logs
        root.setLevel(level)
        package.setLevel(package_level)
        structlog.configure(**configuration)
        for number, handler in handlers.items():
            signal.signal(number, handler)
