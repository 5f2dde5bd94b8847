"""Nothing is lost when the disk of the broker or of the workers is full for a while."""

import signal
import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import await_learner, await_recovery, supervised
from tests.faults.small_disk import small_disk

FULL_SECONDS = 20
BROKER_MEGABYTES = 512
WORKER_MEGABYTES = 16

pytestmark = pytest.mark.faults


def test_the_brokers_disk_is_full(tmp_path: Path) -> None:
    """Kafka exits when it cannot write its log; the test restarts it once there is space."""
    with small_disk(tmp_path / "disk", BROKER_MEGABYTES) as disk:
        broker = EmbeddedBroker(disk.folder / "kafka", owned=True)
        broker.start()
        try:
            with supervised(broker, tmp_path) as (system, _, supervision):
                disk.fill()
                ended = system.until(
                    lambda: broker.pid is None, 60, "the broker runs without disk space"
                )
                time.sleep(FULL_SECONDS)
                disk.free()
                broker.start()
                print(
                    f"\nbroker exited after {ended:.1f} s; {await_recovery(system)}; "
                    f"{supervision.report()}"
                )
        finally:
            broker.kill()


def test_the_workers_disk_is_full(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Workers score without run files and artifact store; the learner publishes once it can."""
    with (
        small_disk(tmp_path / "data", WORKER_MEGABYTES) as disk,
        supervised(broker, tmp_path) as (system, _, supervision),
    ):
        await_learner(system)
        run_file = system.settings.data_dir / "run" / system.name / "score-1.json"
        system.kill("score-1")
        run_file.unlink()
        disk.fill()
        before = system.record_counts().events
        time.sleep(FULL_SECONDS)
        rate = (system.record_counts().events - before) / FULL_SECONDS
        disk.free()
        print(
            f"\n{rate:.0f} events/s without disk space; {await_recovery(system)}; "
            f"{supervision.report()}"
        )
        assert rate > 0
        assert supervision.exits == [("score-1", -signal.SIGKILL)]
        system.until(run_file.exists, 20, "the worker has no run file")
        assert list((disk.folder / "store").rglob(".writing-*")) == []
