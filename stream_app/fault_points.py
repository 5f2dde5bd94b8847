"""Named points of the code at which a test may kill the process, to see what a crash there leaves behind."""

import os
import signal

from stream_app.settings import load_settings


def reached(point: str) -> None:
    """End this process with SIGKILL if STREAM_APP_FAULT_POINT names this point; otherwise nothing."""
    if load_settings().fault_point == point:
        os.kill(os.getpid(), signal.SIGKILL)
