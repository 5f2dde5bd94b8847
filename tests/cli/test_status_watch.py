"""`status --watch` while Kafka is away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_system import ROOT


@pytest.mark.parametrize(("option", "stream"), [((), "stdout"), (("--json",), "stderr")])
def test_a_watch_that_starts_while_kafka_is_away_waits_and_says_so(
    tmp_path: Path, option: tuple[str, ...], stream: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", "status", "flights", "--watch", *option],
        cwd=ROOT,
        env=os.environ
        | {
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "STREAM_APP_DATA_DIR": str(tmp_path),
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output = process.stdout if stream == "stdout" else process.stderr
    assert output is not None
    said = [output.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130, errors
    assert all("127.0.0.1:1" in line and "Looking again." in line for line in said), said
