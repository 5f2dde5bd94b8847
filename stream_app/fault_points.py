"""Named points in the code at which a test can kill the process, to check the recovery."""

import os
import signal

from stream_app.settings import load_settings


def kill_at(point: str) -> None:
    """Send SIGKILL to this process if STREAM_APP_FAULT_POINT names this point."""
    if load_settings().fault_point == point:
        os.kill(os.getpid(), signal.SIGKILL)
