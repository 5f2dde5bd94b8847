"""Workers join and leave all the time: the group is divided anew every few seconds, and still gets on."""

import signal
import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import kept, recovered

STORM_SECONDS = 120
TURN_SECONDS = 3.0
GUESTS = ("score-2", "score-3", "score-4")


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_rebalance_storm(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with kept(broker, tmp_path) as (system, _, keeper):
        keeper.resting.update(GUESTS)
        before = system.record_counts().events
        for turn in range(int(STORM_SECONDS / TURN_SECONDS)):
            guest = GUESTS[turn % len(GUESTS)]
            process = system.workers.get(guest)
            if process is None or process.poll() is not None:
                system.start(*guest.split("-"))
            else:
                process.send_signal(signal.SIGTERM)
            time.sleep(TURN_SECONDS)
        rate = (system.record_counts().events - before) / STORM_SECONDS
        print(f"\n{rate:.0f} events/s during the storm; {recovered(system)}; {keeper.report()}")
        assert rate > 0
