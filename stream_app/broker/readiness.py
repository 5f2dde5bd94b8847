"""Wait until a broker that was started serves clients."""

import time

import psutil

from stream_app.broker.broker_errors import StartTimeoutError
from stream_app.broker.node import Node
from stream_app.broker.process import is_alive
from stream_app.broker.start_failure import failed

_READY = "Kafka Server started"  # Kafka says so after it is registered and has opened its listeners
_POLL = 0.02  # seconds
_TAIL = 64 * 1024  # bytes of the log that are read to tell a failure


def wait_until_ready(
    node: Node, process: psutil.Process, deadline: float, log_start: int = 0
) -> None:
    """Return when the broker is ready. `deadline`: monotonic seconds; `log_start`: its log's size when it started.

    Errors: `StartTimeoutError`, and what `failed` makes of a broker that ended.
    """
    while _READY not in _output(node):
        if not is_alive(process):
            raise failed(node.folder, _log(node, log_start) + _output(node), node.log_file)
        if time.monotonic() > deadline:
            raise StartTimeoutError(
                "The broker was not ready in time", f"Give it longer, or see {node.log_file}"
            )
        time.sleep(_POLL)


def _output(node: Node) -> str:
    return node.output_file.read_text(errors="replace") if node.output_file.exists() else ""


def _log(node: Node, start: int) -> str:
    """The end of what this start wrote to the log; all of the file, if it was begun anew meanwhile."""
    if not node.log_file.exists():
        return ""
    with node.log_file.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(start if start <= size else 0, size - _TAIL))
        return file.read().decode(errors="replace")
