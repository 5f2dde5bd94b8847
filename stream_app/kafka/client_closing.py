"""Letting go of clients of librdkafka."""

from collections.abc import Callable
from threading import Thread


def close_aside(close: Callable[[], object]) -> None:
    """Close a client, or drop the last reference to it, in a thread of its own: it may take librdkafka a second."""
    Thread(target=close, name="closing").start()
