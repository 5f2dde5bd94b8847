"""The workers' clocks are an hour off, one fast and one slow."""

from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import kept, recovered
from tests.running_system import ROOT, System

HOUR = 3600
SHIFTED = """
import os, time

shift = int(os.environ["CLOCK_SHIFT"])
true_time, true_time_ns = time.time, time.time_ns
time.time = lambda: true_time() + shift
time.time_ns = lambda: true_time_ns() + shift * 10**9
"""


@pytest.mark.faults
def test_clocks_an_hour_off(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Python reads `sitecustomize` before anything else, so that nobody in the worker sees the true time."""
    (tmp_path / "sitecustomize.py").write_text(SHIFTED)
    with kept(broker, tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}", CLOCK_SHIFT="0") as (
        system,
        _,
        keeper,
    ):
        keeper.resting.update(("score-0", "score-1", "learn-0"))
        for worker, shift in (("score-0", HOUR), ("score-1", -HOUR), ("learn-0", HOUR)):
            system.terminate(worker)
            system.start(*worker.split("-"), CLOCK_SHIFT=str(shift))
        print(f"\nafter clocks were put wrong: {recovered(system)}")
        assert {HOUR, -HOUR} <= shifts(system)
        for worker in ("learn-0", "score-1", "score-0"):
            system.terminate(worker)
            system.start(*worker.split("-"))
        print(f"after clocks were put right: {recovered(system)}; {keeper.report()}")


def shifts(system: System) -> set[int]:
    """By how much, in seconds, the clocks of those that scored were off from Kafka's."""
    messages = system.read("scored")
    ages = (
        system.decode(message.value() or b"")["scored_at"] - message.timestamp()[1]
        for message in messages
    )
    return {round(age / 1000 / HOUR) * HOUR for age in ages}
