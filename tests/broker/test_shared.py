"""The last command that uses a shared broker stops it, unless a user started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.broker.embedded import keep_running, use_broker
from tests.running_system import ROOT

USER = """
import os, signal, sys
from pathlib import Path
from stream_app.broker import EmbeddedBroker
from stream_app.broker.embedded import use_broker
with use_broker(EmbeddedBroker(Path(sys.argv[1]))):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.broker
def test_a_broker_left_by_a_killed_process_is_stopped_by_the_next_one(
    tmp_path: Path,
) -> None:
    broker = EmbeddedBroker(tmp_path)
    try:
        killed = subprocess.run(
            [sys.executable, "-c", USER, str(tmp_path)], cwd=ROOT, env=os.environ, timeout=60
        )
        assert (killed.returncode, broker.status().running) == (-signal.SIGKILL, True)
        with use_broker(broker):
            pass
        assert not broker.status().running

        with use_broker(broker):
            keep_running(broker)
        assert broker.status().running
        with use_broker(broker):
            pass
        assert broker.status().running
    finally:
        broker.kill()
