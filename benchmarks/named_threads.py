"""Runs `stream_app` with its threads named after their class, for `benchmarks.profile`."""

import runpy
import sys
import threading
from pathlib import Path
from types import FrameType


def name_thread(frame: FrameType, event: str, argument: object) -> None:
    """Sets the kernel's name of the current thread; a profile function that runs once in it."""
    sys.setprofile(None)
    kind = type(threading.current_thread()).__name__
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(kind[:15])


if __name__ == "__main__":
    threading.setprofile(name_thread)
    runpy.run_module("stream_app", run_name="__main__", alter_sys=True)
