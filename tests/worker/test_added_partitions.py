"""Partitions that somebody adds to a topic of a running pipeline."""

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions

from stream_app.broker import EmbeddedBroker
from stream_app.errors import TopicsError
from stream_app.kafka.clients import make_admin
from tests.patience import PATIENCE
from tests.running_system import System
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker


@pytest.mark.faults
def test_workers_end_with_the_one_remedy_when_partitions_are_added(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(broker.bootstrap_servers, tmp_path, unique_name(), partitions=2) as system:
        system.start_all()
        now = int(time.time() * 1000) - 3_600_000
        for number in range(50):
            system.send_event(number, now + number)
        system.await_outcomes()
        raw = f"{system.name}.raw"
        admin = make_admin(system.settings)
        admin.create_partitions([NewPartitions(raw, 3)])[raw].result(30)
        # The group's leader refreshes its metadata every 30 s.
        assert system.workers["score-0"].wait(90 * PATIENCE) == TopicsError.exit_code, system.log(
            "score-0"
        )
        check_last_line(system)
        assert system.start("score").wait(60 * PATIENCE) == TopicsError.exit_code
        check_last_line(system)


def check_last_line(system: System) -> None:
    line = system.log("score-0").splitlines()[-1]
    assert f"Partitions were added to {system.name}.raw (now 3): keys have moved" in line
    assert "under a new name with STREAM_APP_TOPICS__PARTITIONS=3" in line
    assert "brokers are up" not in line
