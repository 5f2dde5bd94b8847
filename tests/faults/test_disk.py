"""Disks fill up, at the broker and at the workers, and are freed again."""

import signal
import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import kept, learner_beyond, recovered
from tests.faults.small_disk import small_disk

FULL_SECONDS = 20
BROKER_MEGABYTES = 512
WORKER_MEGABYTES = 16

pytestmark = pytest.mark.faults


def test_the_brokers_disk_is_full(tmp_path: Path) -> None:
    """Kafka ends when it cannot write its log; it is started again when there is room."""
    with small_disk(tmp_path / "disk", BROKER_MEGABYTES) as disk:
        broker = EmbeddedBroker(disk.folder / "kafka", owned=True)
        broker.start()
        try:
            with kept(broker, tmp_path) as (system, _, keeper):
                disk.fill()
                ended = system.until(
                    lambda: broker.pid is None, 60, "the broker goes on without a disk"
                )
                time.sleep(FULL_SECONDS)
                disk.free()
                broker.start()
                print(f"\nbroker ended after {ended:.1f} s; {recovered(system)}; {keeper.report()}")
        finally:
            broker.kill()


def test_the_workers_disk_is_full(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Run files and artifact store: all go on, one that starts meanwhile too; the learner publishes when it can."""
    with (
        small_disk(tmp_path / "data", WORKER_MEGABYTES) as disk,
        kept(broker, tmp_path) as (system, _, keeper),
    ):
        learner_beyond(system)
        run_file = system.settings.data_dir / "run" / system.name / "score-1.json"
        system.kill("score-1")
        run_file.unlink()
        disk.fill()
        before = system.record_counts().events
        time.sleep(FULL_SECONDS)
        rate = (system.record_counts().events - before) / FULL_SECONDS
        disk.free()
        print(f"\n{rate:.0f} events/s without a disk; {recovered(system)}; {keeper.report()}")
        assert rate > 0
        assert keeper.endings == [("score-1", -signal.SIGKILL)]
        system.until(run_file.exists, 20, "nobody can find the worker")
        assert list((disk.folder / "store").rglob(".writing-*")) == []
