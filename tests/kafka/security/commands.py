"""Runs commands as a user of a secured cluster."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from stream_app.settings import KafkaSettings
from tests.in_process import run_in_process
from tests.kafka.security.cluster import PASSWORD
from tests.patience import PATIENCE
from tests.running_system import ROOT, kafka_environment


class Ended(NamedTuple):
    """Result of a command."""

    code: int
    output: str
    errors: str
    seconds: float

    @property
    def json(self) -> Any:
        assert self.output, self.errors
        return json.loads(self.output)


def run(
    folder: Path,
    kafka: KafkaSettings,
    *words: str,
    typed: str = "",
    own_process: bool = False,
    **environment: str,
) -> Ended:
    """Run a command with its data in `folder`; fails if its output contains a secret.

    Args:
        own_process: True to start a process, whose output includes that of Kafka's client; False to
            run in that of the test.
    """
    started = time.monotonic()
    variables = (
        {"STREAM_APP_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT)}
        | kafka_environment(kafka)
        | environment
    )
    if own_process:
        done = subprocess.run(
            [sys.executable, "-m", "stream_app", *words],
            cwd=ROOT,
            env=os.environ | variables,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120 * PATIENCE,
            check=False,
        )
    else:
        done = run_in_process(*words, typed=typed, environment=variables)
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


def only_error(ended: Ended, code: int = 13) -> str:
    """Return the only line on standard error of a command that ended with `code`."""
    assert (ended.code, ended.output, len(ended.errors.splitlines())) == (code, "", 1), ended
    return ended.errors.strip()
