"""Records wait while the schema registry does not respond; none is lost or dead-lettered."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.errors import RegistryError
from stream_app.loading import load_pipeline
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.subjects import register_schemas, subject_name
from stream_app.settings import RegistrySettings, Settings
from tests import avro_samples
from tests.patience import PATIENCE
from tests.running_system import System
from tests.small_pipeline import EVENT_SCHEMA, event
from tests.tcp_gate import Gate

AT = int(time.time() * 1000) - 36_000_000
# Number of events of partition 0, in Avro, and of partition 1, in JSON.
AVRO_EVENTS, JSON_EVENTS = 300, 100
AVRO = (
    "from tests.small_pipeline import small_pipeline\n"
    'pipeline = small_pipeline("NAME", format="avro")\n'
)


@pytest.fixture
def gate(apicurio: str) -> Iterator[Gate]:
    with Gate(apicurio, is_open=False) as gate:
        yield gate


def started(broker: EmbeddedBroker, folder: Path, gate: Gate, declared: str = "") -> System:
    system = System(
        broker.bootstrap_servers, folder, f"outage-{uuid4().hex[:8]}", declared, partitions=2
    )
    system.environment = {
        "STREAM_APP_REGISTRY__URL": gate.url,
        "STREAM_APP_REGISTRY__TIMEOUT_SECONDS": "1",
        "STREAM_APP_WORKER__TRANSACTION_TIMEOUT_SECONDS": "1",
    }
    return system


def send_all(system: System, apicurio: str) -> None:
    """Send Avro to partition 0, JSON to partition 1, and a label for every event."""
    registry = open_registry(RegistrySettings(url=apicurio, timeout_seconds=30))
    schema_id = registry.register(subject_name(system.name, "raw"), json.dumps(EVENT_SCHEMA))
    for number in range(AVRO_EVENTS):
        value = avro_samples.framed(EVENT_SCHEMA, event(number, AT + number), schema_id)
        system.send("raw", value, f"e{number}".encode(), partition=0)
    for number in range(AVRO_EVENTS, AVRO_EVENTS + JSON_EVENTS):
        system.send(
            "raw",
            json.dumps(event(number, AT + number)).encode(),
            f"e{number}".encode(),
            partition=1,
        )
    for number in range(AVRO_EVENTS + JSON_EVENTS):
        fields = {"id": f"e{number}", "fraud": number % 3 == 0, "known_at": AT + 3_600_000}
        key, partition = f"e{number}".encode(), int(number >= AVRO_EVENTS)
        system.send("labels", json.dumps(fields).encode(), key, partition=partition)
    system.producer.flush(60)


def answer(system: System, path: str) -> tuple[int, str]:
    """Return status and body of the scorer's answer over HTTP, (0, "") without one."""
    try:
        run = json.loads(
            (system.settings.data_dir / "run" / system.name / "score-0.json").read_text()
        )
        with urlopen(f"http://{run['host']}:{run['port']}{path}", timeout=60) as answered:
            return answered.status, answered.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_one_partition_waits_and_the_others_continue(
    broker: EmbeddedBroker, tmp_path: Path, apicurio: str, gate: Gate
) -> None:
    with started(broker, tmp_path, gate) as system:
        system.start_all()
        send_all(system, apicurio)
        system.until(
            lambda: (
                (system.record_counts().scored, system.record_counts().waiting)
                == (JSON_EVENTS, AVRO_EVENTS)
            ),
            60,
            "the other partition does not continue",
        )
        system.until(
            lambda: answer(system, "/readyz")[0] == 503, 20, "the worker reports that it is ready"
        )
        assert "1 partitions wait for the schema registry" in answer(system, "/readyz")[1]
        system.until(
            lambda: (
                f'{{pipeline="{system.name}",reason="schema-registry"}} 1.0'
                in answer(system, "/metrics")[1]
            ),
            20,
            "no metric",
        )
        asked = gate.connections_accepted
        # Longer than the transaction timeout.
        time.sleep(3)
        counts = system.record_counts()
        assert (counts.scored, counts.joined, counts.dead, counts.label_dead) == (
            JSON_EVENTS,
            JSON_EVENTS,
            {},
            {},
        )
        assert gate.connections_accepted - asked < 20
        gate.open()
        assert (
            system.until(
                lambda: system.record_counts().scored == AVRO_EVENTS + JSON_EVENTS,
                60,
                "it does not resume",
            )
            < 10 * PATIENCE
        )
        assert answer(system, "/readyz")[0] == 200
        system.check_outcomes()
        counts = system.record_counts()
        assert (counts.joined, counts.dead, counts.label_dead) == (
            AVRO_EVENTS + JSON_EVENTS,
            {},
            {},
        )
        log = (tmp_path / "score-0.log").read_text()
        assert (log.count("waiting for the schema registry"), log.count("answers again")) == (1, 1)


def test_a_waiting_worker_can_be_stopped_and_killed(
    broker: EmbeddedBroker, tmp_path: Path, apicurio: str, gate: Gate
) -> None:
    with started(broker, tmp_path, gate) as system:
        system.start_all()
        send_all(system, apicurio)
        system.until(
            lambda: answer(system, "/readyz")[0] == 503 and gate.connections_accepted > 0,
            60,
            "it does not wait",
        )
        assert system.terminate("score-0") < 5 * PATIENCE
        asked = gate.connections_accepted
        system.start("score")
        system.until(
            lambda: (
                gate.connections_accepted > asked and system.record_counts().waiting == AVRO_EVENTS
            ),
            60,
            "it does not wait again",
        )
        system.kill("score-0")
        gate.open()
        system.start("score")
        assert system.await_outcomes().scored == AVRO_EVENTS + JSON_EVENTS
        system.check_outcomes()
        assert system.record_counts().dead == {}


def test_a_pipeline_that_writes_avro_waits_for_its_schema_ids(
    broker: EmbeddedBroker, tmp_path: Path, apicurio: str, gate: Gate
) -> None:
    with started(broker, tmp_path, gate, AVRO) as system:
        system.start("score")
        system.start("learn")
        system.until(
            lambda: "waiting for the schema registry" in answer(system, "/readyz")[1],
            60,
            "the worker does not report the reason",
        )
        settings = Settings(registry=RegistrySettings(url=apicurio, timeout_seconds=30))
        register_schemas(load_pipeline(str(system.pipeline)), settings)
        gate.open()
        system.send_event(1, AT)
        assert system.await_outcomes().scored == 1
        assert (system.read("scored")[0].value() or b"")[0] == 0


@pytest.mark.parametrize("registry", ["", "file://"])
def test_a_pipeline_that_writes_avro_fails_without_registered_schemas(
    broker: EmbeddedBroker, tmp_path: Path, registry: str
) -> None:
    with System(broker.bootstrap_servers, tmp_path, f"outage-{uuid4().hex[:8]}", AVRO) as system:
        (tmp_path / "empty").mkdir()
        environment: dict[str, Any] = (
            {"STREAM_APP_REGISTRY__URL": (tmp_path / "empty").as_uri()} if registry else {}
        )
        worker = system.start("score", **environment)
        assert worker.wait(60 * PATIENCE) == RegistryError.exit_code
        assert (
            "stream-app schemas register" if registry else "STREAM_APP_REGISTRY__URL"
        ) in system.log("score-0")
