"""Supervised workers survive poison records, and a learner survives a poison example."""

import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.worker.supervisor import FIRST_DELAY, Supervisor
from tests.patience import PATIENCE
from tests.running_system import System, kafka_environment
from tests.small_pipeline import HOUR
from tests.worker.poison import DECLARED, LEAVE, SEGFAULT, EventBatches, Restarting, messages

DECLARED_LEARNER = """
import os
from river import dummy
from tests.small_pipeline import small_pipeline

class Fragile(dummy.PriorClassifier):
    def learn_one(self, x, y):
        if x["amount"] == 13:
            os.abort()
        super().learn_one(x, y)

pipeline = small_pipeline("NAME", model=Fragile)
"""


def test_the_supervisor_restarts_a_worker_that_a_record_ended(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Even with the exit code of a permanent error."""
    with System(
        broker.bootstrap_servers, tmp_path, f"poison-{uuid4().hex[:8]}", DECLARED, partitions=1
    ) as system:
        environment = {
            **kafka_environment(system.settings.kafka),
            "STREAM_APP_DATA_DIR": str(system.settings.data_dir),
            "STREAM_APP_TOPICS__PARTITIONS": "1",
            "STREAM_APP_WORKER__QUARANTINE_SECONDS": "0",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }
        log_file = tmp_path / "workers.log"
        supervisor = Supervisor(
            str(system.pipeline),
            system.name,
            system.settings,
            1,
            False,
            environment=environment,
            log_file=log_file,
        )
        supervisor.start()
        try:
            assert supervisor.wait_ready(60)
            batches = EventBatches(system)
            for kind in (LEAVE, SEGFAULT):
                batches.start([kind], good=20)
                deadline = time.monotonic() + 150 * PATIENCE
                while not system.has_all_outcomes():
                    assert time.monotonic() < deadline, log_file.read_text()[-4000:]
                    supervisor.supervise()
                    time.sleep(0.05)
            assert supervisor.failed is None
            assert [worker.delay for worker in supervisor.workers] == [FIRST_DELAY] * 2
            assert supervisor.restarts == 2
        finally:
            supervisor.stop()
        assert [code for code, _ in messages(system)] == ["record-crashes"] * 2
        system.check_outcomes()


@pytest.mark.faults
def test_an_example_that_crashes_the_learner_twice_is_skipped(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    name = f"poison-{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, DECLARED_LEARNER, partitions=1) as system:
        system.start_all()
        with Restarting(system, "learn-0") as restarting:
            at = int(time.time() * 1000) - HOUR
            for number in range(30):
                system.send_event(number, at + number)
                system.send_label(number, at + number + 500)
            system.await_outcomes()
            system.until(lambda: system.learned() == 29, 150, "the other examples are not learned")
            assert len(restarting.exit_codes) == 2
        skipped = [
            message
            for message in system.read("learn.state")
            if (message.key() or b"").startswith(b"skip/")
        ]
        assert [message.value() for message in skipped] == [b"record-crashes"]
        system.kill("learn-0")
        (system.settings.data_dir / "run" / name / "learn-0.candidates").unlink()
        system.start("learn")
        system.send_event(30, at + 30)
        system.send_label(30, at + 530)
        system.until(lambda: system.learned() == 30, 90, "the learner is not back")
