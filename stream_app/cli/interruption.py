"""Ctrl-C in commands that read files: the present record is finished first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from stream_app.offline.simulation import Simulation


@contextmanager
def noting_ctrl_c(simulation: Simulation) -> Iterator[list[int]]:
    """Yield a list that the first Ctrl-C fills, so that the present record can be finished.

    A second Ctrl-C interrupts at once, and so does the first while the simulation waits for input.
    """
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before)
        if simulation.reading:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ended_by_ctrl_c(noted: list[int]) -> Iterator[None]:
    """Continue after the block when Ctrl-C has ended it."""
    try:
        yield
    except KeyboardInterrupt:
        noted.append(signal.SIGINT)
