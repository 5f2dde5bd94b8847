"""A hundred thousand dead letters are replayed exactly once, whoever is killed on the way, and fast."""

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.dead_letters.replay_setup import Desk
from tests.running_system import headers

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.timeout(900)]
COUNT = 100_000


def start(desk: Desk) -> subprocess.Popen[bytes]:
    """An operator who replays everything."""
    return desk.spawn("dead-letters", "replay", "PIPELINE", *desk.mend, "--yes", "--why", "test")


def ends(desk: Desk) -> int:
    return sum(desk.ends("raw.replay").values())


@pytest.mark.parametrize("kills", [0, 3])
def test_each_of_a_hundred_thousand_is_sent_once(
    broker: EmbeddedBroker, tmp_path: Path, kills: int
) -> None:
    with Desk(broker, tmp_path, partitions=4) as desk:
        desk.start_all()
        desk.send_renamed(COUNT, 240)
        assert desk.books().dead == {"missing-field": COUNT}
        for turn in range(kills):
            operator, before = start(desk), ends(desk)
            desk.until(lambda before=before: ends(desk) > before + 10_000, 120, "nothing is sent")  # type: ignore[misc]
            rival = start(desk) if turn == 1 else None
            if rival is not None:
                assert rival.wait(60) == 8, (
                    desk.folder / "operator.log"
                ).read_text()  # refused, for the other works
            operator.kill()
            operator.wait()
        last = start(desk)
        started = sent = 0.0
        while last.poll() is None:
            count = ends(desk)
            if count and not started:
                started = time.monotonic()
            if count >= COUNT and not sent:
                sent = time.monotonic()
            time.sleep(0.05)
        assert last.returncode == 0, (desk.folder / "operator.log").read_text()
        if not kills:
            done = time.monotonic() - started
            print(
                f"\n{COUNT / (sent - started):,.0f} dead letters/s sent, {COUNT / done:,.0f} scored"
            )
        desk.sent["raw"] += COUNT
        desk.check_outcomes()
        origins = Counter(
            (headers(m)["original-partition"], headers(m)["original-offset"])
            for m in desk.read("raw.replay")
        )
        assert (len(origins), set(origins.values())) == (COUNT, {1})
        assert desk.books().scored == COUNT
        assert [(act["act"], act["state"]) for act in desk.act("status")] == [("replay", "done")]
