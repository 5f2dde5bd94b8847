"""Waiting until nothing that was written is hidden by a transaction still open."""

from collections.abc import Callable
from time import monotonic, sleep

from confluent_kafka import Consumer, TopicPartition

from stream_app.errors import FencedError
from stream_app.streaming.processor import Input

_CALL_SECONDS = 10.0


def await_settled(ends: Consumer, stable_end: Callable[[], int], place: Input, patience: float) -> None:
    """Wait until all that is written to a partition now is committed or aborted.

    `ends` reads uncommitted records, `stable_end` tells where those end that are settled. Raises FencedError if a
    transaction stays open for `patience` seconds.
    """
    _, written = ends.get_watermark_offsets(TopicPartition(*place), timeout=_CALL_SECONDS, cached=False)
    deadline = monotonic() + patience
    while stable_end() < written:
        if monotonic() > deadline:
            raise FencedError(f"A transaction on {place.topic} stays open", "Repeat the command in a while")
        sleep(0.02)
