"""`status --watch` while Kafka is away, and afterwards."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import enumerate as threads

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.cli.status import WatchedPipeline
from tests.patience import PATIENCE
from tests.running_system import ROOT
from tests.transfer.clusters import new_topics, settings_for


@pytest.mark.parametrize(("option", "stream"), [((), "stdout"), (("--json",), "stderr")])
def test_a_watch_that_starts_while_kafka_is_away_waits_and_says_so(
    tmp_path: Path, option: tuple[str, ...], stream: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", "status", "flights", "--watch", *option],
        cwd=ROOT,
        env=os.environ
        | {
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "STREAM_APP_DATA_DIR": str(tmp_path),
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output = process.stdout if stream == "stdout" else process.stderr
    assert output is not None
    said = [output.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15 * PATIENCE)
    assert process.returncode == 130, errors
    assert all("127.0.0.1:1" in line and "Looking again." in line for line in said), said


@pytest.mark.broker
def test_a_watch_continues_with_new_clients_after_it_has_closed_the_old_ones(
    broker: EmbeddedBroker,
) -> None:
    settings = settings_for(broker, partitions=1)
    name = new_topics(settings)
    with closing(WatchedPipeline(settings, name, 0.05)) as watched:
        before = watched.look()
        watched.reconnect()
        for thread in threads():
            if thread.name == "closing":
                thread.join(10 * PATIENCE)
                assert not thread.is_alive()
        after = watched.look()
        assert (before.pipeline, after.pipeline) == (name, name)
        assert after.record_counts == before.record_counts
