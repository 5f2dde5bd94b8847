"""Runs a stream-app command that kills itself, or hangs, at a point of its code.

The environment variable FAULT_AT names the point: `module:Class.method,WHEN,count[,text]`.
The process kills itself before or after the `count`-th call, or the call does its work and does not
return; WHEN is before, after or hang. With a text, only calls with it among their arguments count.
"""

import functools
import os
import signal
from importlib import import_module
from threading import Event
from typing import Any


def target_of(point: str) -> tuple[type, str]:
    """Returns the class and the name of the method of a point.

    Raises:
        ValueError: the point does not exist.
    """
    module, _, path = point.partition(",")[0].partition(":")
    class_name, _, method = path.partition(".")
    owner = getattr(import_module(module), class_name, None)
    if not isinstance(owner, type) or not callable(getattr(owner, method, None)):
        raise ValueError(f"FAULT_AT: {module} has no method {path}")
    return owner, method


def arm(point: str) -> None:
    """Replaces the method of a point by one that kills the process or does not return."""
    _, when, count, *texts = point.split(",")
    owner, method = target_of(point)
    original = getattr(owner, method)
    left = int(count)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= not texts or texts[0] in arguments
        if when == "before" and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if when == "after" and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "hang" and left == 0:
            Event().wait()
        return result

    setattr(owner, method, wrapped)


if __name__ == "__main__":
    from stream_app.cli import main

    arm(os.environ["FAULT_AT"])
    main()
