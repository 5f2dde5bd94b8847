"""A hundred thousand dead letters are replayed exactly once, even if operators are killed."""

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.dead_letters.replay_setup import DeadLetterSystem
from tests.running_system import headers

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.timeout(900)]
COUNT = 100_000


def start(system: DeadLetterSystem) -> subprocess.Popen[bytes]:
    """Starts a command that replays all dead letters."""
    return system.spawn("dead-letters", "replay", "PIPELINE", *system.fix, "--yes", "--why", "test")


def ends(system: DeadLetterSystem) -> int:
    return sum(system.ends("raw.replay").values())


@pytest.mark.parametrize("kills", [0, 3])
def test_each_of_a_hundred_thousand_dead_letters_is_sent_once(
    broker: EmbeddedBroker, tmp_path: Path, kills: int
) -> None:
    with DeadLetterSystem(broker, tmp_path, partitions=4) as system:
        system.start_all()
        system.send_renamed(COUNT, 240)
        assert system.record_counts().dead == {"missing-field": COUNT}
        for attempt in range(kills):
            operator, before = start(system), ends(system)
            enough = before + 10_000
            system.until(lambda enough=enough: ends(system) > enough, 120, "nothing is sent")  # type: ignore[misc]
            rival = start(system) if attempt == 1 else None
            if rival is not None:
                # Rejected, because the first operator is still sending.
                assert rival.wait(60) == 8, (system.folder / "operator.log").read_text()
            operator.kill()
            operator.wait()
        last = start(system)
        started = sent = 0.0
        while last.poll() is None:
            count = ends(system)
            if count and not started:
                started = time.monotonic()
            if count >= COUNT and not sent:
                sent = time.monotonic()
            time.sleep(0.05)
        assert last.returncode == 0, (system.folder / "operator.log").read_text()
        if not kills:
            done = time.monotonic() - started
            print(
                f"\n{COUNT / (sent - started):,.0f} dead letters/s sent, {COUNT / done:,.0f} scored"
            )
        system.sent["raw"] += COUNT
        system.check_outcomes()
        origins = Counter(
            (headers(m)["stream-app-original-partition"], headers(m)["stream-app-original-offset"])
            for m in system.read("raw.replay")
        )
        assert (len(origins), set(origins.values())) == (COUNT, {1})
        assert system.record_counts().scored == COUNT
        assert [(one["operation"], one["state"]) for one in system.run("status")] == [
            ("replay", "done")
        ]
