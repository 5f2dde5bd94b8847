"""Ctrl-C in commands that go through files: the record in work is finished first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from stream_app.offline.simulation.simulation import Simulation


@contextmanager
def noting_ctrl_c(trial: Simulation) -> Iterator[list[int]]:
    """A list that Ctrl-C makes true, so that a record in work is finished first; a second one does not wait for it."""
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before)
        if trial.reading:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ended_by_ctrl_c(noted: list[int]) -> Iterator[None]:
    """Go on behind the block when Ctrl-C has ended it."""
    try:
        yield
    except KeyboardInterrupt:
        noted.append(signal.SIGINT)
