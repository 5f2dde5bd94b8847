"""The job that sends flights continues where it ended, on a real broker."""

import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.settings import Settings
from tests.deploy.compose import DEPLOY
from tests.patience import PATIENCE
from tests.running_system import ROOT, System

RATE = 1000
# Records between two flushes.
CHUNK = 200
READERS = 16
SEND = "import sys, flights; flights.send(flights.load_settings(), sys.argv[1], float(sys.argv[2]))"


@pytest.fixture
def flights(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DEPLOY / "demo"))
    return import_module("flights")


def start(system: System) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SEND, system.name, str(RATE)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{DEPLOY / 'demo'}:{ROOT}",
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": system.servers,
        },
    )


@pytest.mark.broker
def test_a_restarted_job_sends_what_is_missing(
    broker: EmbeddedBroker, tmp_path: Path, flights: ModuleType
) -> None:
    with System(broker.bootstrap_servers, tmp_path, "resent") as system:
        settings = Settings.model_validate({"kafka": {"bootstrap_servers": system.servers}})
        position = flights.Position(settings, system.name)

        def run_until(number: int) -> subprocess.Popen[bytes]:
            job = start(system)
            deadline = time.monotonic() + 60 * PATIENCE
            while position.read() < number:
                assert job.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            return job

        def sent() -> Counter[tuple[str, bytes | None, bytes | None]]:
            return Counter(
                (kind, message.key(), message.value())
                for kind in ("raw", "labels")
                for message in system.read(kind)
            )

        def expected(number: int) -> Counter[tuple[str, bytes | None, bytes | None]]:
            records = flights.scheduled_sends(flights.year(), mistakes=0.002, seed=2013)
            return Counter((one.kind, one.key, one.value) for one in islice(records, number))

        stopped = run_until(1)
        stopped.terminate()
        assert stopped.wait(20 * PATIENCE) == 0
        first = position.read()
        assert sent() == expected(first)

        killed = run_until(first + 1)
        killed.kill()
        killed.wait()
        # The killed job's last records may be on the way.
        last = run_until(position.read() + 2 * CHUNK)
        last.terminate()
        assert last.wait(20 * PATIENCE) == 0
        missing = expected(position.read())
        missing.subtract(sent())
        assert all(count <= 0 for count in missing.values())
        assert -missing.total() <= CHUNK


@pytest.mark.broker
def test_the_job_may_start_while_a_new_broker_has_no_coordinator(
    own_broker: EmbeddedBroker, tmp_path: Path, flights: ModuleType
) -> None:
    """The first readers of an offset make the broker create the topic of all offsets."""
    servers = own_broker.bootstrap_servers
    with System(servers, tmp_path, "new", partitions=1) as system:
        settings = Settings.model_validate({"kafka": {"bootstrap_servers": servers}})
        positions = [flights.Position(settings, system.name) for _ in range(READERS)]
        with ThreadPoolExecutor(READERS) as threads:
            found = list(threads.map(lambda position: position.read(), positions))
    assert found == [0] * READERS
