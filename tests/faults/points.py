"""Runs a stream-app command that kills itself: `KILL_AT=module:Class.method,before|after,count[,text]`.

With a text only calls that have it among their arguments count.
"""

import functools
import os
import signal
from importlib import import_module
from typing import Any


def arm(point: str) -> None:
    """Make the `count`-th matching call the last thing that this process does."""
    target, when, count, *texts = point.split(",")
    module, _, path = target.partition(":")
    owner_name, _, method = path.partition(".")
    owner = getattr(import_module(module), owner_name)
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
        return result

    setattr(owner, method, wrapped)


if __name__ == "__main__":
    from stream_app.cli import main

    arm(os.environ["KILL_AT"])
    main()
