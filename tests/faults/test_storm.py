"""Workers that join and leave all the time do not stop the group."""

import signal
import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import await_recovery, supervised

STORM_SECONDS = 120
JOIN_INTERVAL_SECONDS = 3.0
GUESTS = ("score-2", "score-3", "score-4")


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_rebalance_storm_does_not_stop_scoring(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with supervised(broker, tmp_path) as (system, _, supervision):
        supervision.stopped.update(GUESTS)
        before = system.record_counts().events
        for number in range(int(STORM_SECONDS / JOIN_INTERVAL_SECONDS)):
            guest = GUESTS[number % len(GUESTS)]
            process = system.workers.get(guest)
            if process is None or process.poll() is not None:
                system.start(*guest.split("-"))
            else:
                process.send_signal(signal.SIGTERM)
            time.sleep(JOIN_INTERVAL_SECONDS)
        rate = (system.record_counts().events - before) / STORM_SECONDS
        print(
            f"\n{rate:.0f} events/s during the storm; {await_recovery(system)}; "
            f"{supervision.report()}"
        )
        assert rate > 0
