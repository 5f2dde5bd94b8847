"""Freezes a broker: its connections stay open, and nothing answers."""

import os
import signal
import time

from stream_app.broker import EmbeddedBroker

# Longer than the sessions of the broker with its controller (3 s) and of workers with their group
# (6 s): leaders and coordinators are elected again, and groups rebalance.
FROZEN_SECONDS = 14.0
SHORT_SECONDS = 7.0


def freeze(broker: EmbeddedBroker, seconds: float = FROZEN_SECONDS) -> None:
    """Suspends the process of a broker for a time."""
    pid = broker.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
