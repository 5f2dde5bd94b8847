"""One embedded broker for several commands: who stops it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.broker.shared import in_use, keep_running
from tests.running_system import ROOT

USER = """
import os, signal, sys
from pathlib import Path
from stream_app.broker import EmbeddedBroker
from stream_app.broker.shared import in_use
with in_use(EmbeddedBroker(Path(sys.argv[1]))):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.broker
def test_a_broker_that_a_killed_user_left_is_stopped_by_the_next_unless_somebody_wants_it(
    tmp_path: Path,
) -> None:
    broker = EmbeddedBroker(tmp_path)
    try:
        killed = subprocess.run(
            [sys.executable, "-c", USER, str(tmp_path)], cwd=ROOT, env=os.environ, timeout=60
        )
        assert (killed.returncode, broker.status().running) == (-signal.SIGKILL, True)
        with in_use(broker):
            pass
        assert not broker.status().running

        with in_use(broker):
            keep_running(broker)
        assert broker.status().running
        with in_use(broker):
            pass
        assert broker.status().running
    finally:
        broker.kill()
