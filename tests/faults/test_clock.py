"""Workers whose clocks are an hour fast or slow lose nothing."""

from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import await_recovery, supervised
from tests.running_system import ROOT, System

HOUR_SECONDS = 3600
SHIFTED = """
import os, time

shift = int(os.environ["CLOCK_SHIFT"])
true_time, true_time_ns = time.time, time.time_ns
time.time = lambda: true_time() + shift
time.time_ns = lambda: true_time_ns() + shift * 10**9
"""


@pytest.mark.faults
def test_clocks_an_hour_off(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Python imports `sitecustomize` first, so no code of the worker sees the true time."""
    (tmp_path / "sitecustomize.py").write_text(SHIFTED)
    with supervised(broker, tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}", CLOCK_SHIFT="0") as (
        system,
        _,
        supervision,
    ):
        supervision.stopped.update(("score-0", "score-1", "learn-0"))
        for worker, shift in (
            ("score-0", HOUR_SECONDS),
            ("score-1", -HOUR_SECONDS),
            ("learn-0", HOUR_SECONDS),
        ):
            system.terminate(worker)
            system.start(*worker.split("-"), CLOCK_SHIFT=str(shift))
        print(f"\nafter the clocks were shifted: {await_recovery(system)}")
        assert {HOUR_SECONDS, -HOUR_SECONDS} <= shifts(system)
        for worker in ("learn-0", "score-1", "score-0"):
            system.terminate(worker)
            system.start(*worker.split("-"))
        print(f"after the clocks were corrected: {await_recovery(system)}; {supervision.report()}")


def shifts(system: System) -> set[int]:
    """Returns the shifts of the scorers' clocks against Kafka's in seconds, in whole hours."""
    messages = system.read("scored")
    ages = (
        system.decode(message.value() or b"")["scored_at"] - message.timestamp()[1]
        for message in messages
    )
    return {round(age / 1000 / HOUR_SECONDS) * HOUR_SECONDS for age in ages}
