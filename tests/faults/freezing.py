"""Freezes a broker: its connections stay open, and nothing answers."""

import os
import signal
import time

from stream_app.broker import EmbeddedBroker

# Longer than the broker's session with its controller (9 s): partitions and coordinators move.
FROZEN_SECONDS = 14.0


def freeze(broker: EmbeddedBroker, seconds: float = FROZEN_SECONDS) -> None:
    """Suspends the process of a broker for a time."""
    pid = broker.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
