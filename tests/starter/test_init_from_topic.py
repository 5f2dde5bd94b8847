"""`init --from-topic` attaches a pipeline to topics of a real broker, without edits."""

import subprocess
import time
from collections.abc import Iterable
from datetime import datetime
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import fastavro
import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.core.reading.decoding import add_frame
from stream_app.errors import InputError, TopicsError
from stream_app.examples.nycflights import Flight, read_flights
from stream_app.settings import KafkaSettings, RegistrySettings, Settings
from stream_app.sources import RecordKey
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.topic_sample import sample_topic
from stream_app.starter.topic_starter import ChosenTopics, write_pipeline_of_topics
from tests.in_process import run_in_process
from tests.patience import PATIENCE
from tests.test_first_hour import Cluster, FirstHour

pytestmark = pytest.mark.broker
SCHEMA = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {
            "name": "place",
            "type": {"type": "record", "name": "P", "fields": [{"name": "x", "type": "double"}]},
        },
    ],
}


@pytest.fixture
def name() -> str:
    return f"late-{uuid4().hex[:8]}"


def create(broker: EmbeddedBroker, topics: dict[str, int]) -> Producer:
    """Create topics with numbers of partitions, and return a producer with default settings."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    created = admin.create_topics([NewTopic(topic, count, 1) for topic, count in topics.items()])
    for future in created.values():
        future.result(60)
    return Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 5})


def send_flights(producer: Producer, name: str, flights: Iterable[Flight]) -> tuple[int, int]:
    """Send flights as another program would, and return the numbers of flights and labels."""
    sent = labelled = 0
    for flight in flights:
        event = flight.event
        value = {
            "flight": {"id": event["event_id"], "carrier": event["carrier"]},
            "route": {"from": event["origin"], "miles": event["distance"]},
            "departure": {"ts": flight.event_time_ms // 1000},
        }
        producer.produce(f"{name}.flights", orjson.dumps(value), str(event["carrier"]))
        sent += 1
        if flight.label is not None:
            arrival = {
                "flight": event["event_id"],
                "arrived": flight.label_time_ms // 1000,
                "late": int(flight.label["late"]),
            }
            producer.produce(f"{name}.arrivals", orjson.dumps(arrival), str(event["event_id"]))
            labelled += 1
        producer.poll(0)
    producer.flush(30)
    return sent, labelled


def test_flights_are_scored_and_every_label_is_learned(
    name: str, tmp_path: Path, broker: EmbeddedBroker
) -> None:
    producer = create(broker, {f"{name}.flights": 6, f"{name}.arrivals": 4})
    flights = read_flights(datetime(2013, 1, 1), datetime(2013, 1, 4))
    sent, labelled = send_flights(producer, name, flights)
    cluster = Cluster({"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers})
    user = FirstHour(tmp_path, name, cluster)
    start = time.monotonic()
    options = ("--from-topic", f"{name}.flights", "--label-topic", f"{name}.arrivals")
    shown = user.run("init", name, *options, cwd=tmp_path)
    assert time.monotonic() - start < 15 * PATIENCE
    assert "CHOOSE" not in shown
    (tried,) = (line.split()[1:] for line in shown.splitlines() if "stream-app try" in line)
    summary = user.lines(*tried)[-1]
    assert summary["events"]["scored"] == sent
    assert summary["labels"]["joined"] == summary["model"]["learned"] == labelled
    user.run("topics", "create", "PIPELINE")
    user.run("doctor", "PIPELINE")
    with user.start("up", "PIPELINE", stderr=subprocess.DEVNULL) as up:
        try:
            status = user.until_status(
                lambda found: found["model"] is not None and found["model"]["learned"] == labelled,
                timeout=180.0,
            )
        finally:
            up.terminate()
            up.wait(30 * PATIENCE)
    counts = status["record_counts"]
    assert counts["balanced"]
    assert (counts["scored"], counts["joined"], counts["dead"]) == (sent, labelled, {})


def test_errors_are_one_line(name: str, tmp_path: Path, broker: EmbeddedBroker) -> None:
    create(broker, {f"{name}.orders": 3})
    environment = {"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}

    def error(*options: str) -> tuple[int, str]:
        done = run_in_process("init", "x", *options, folder=tmp_path, environment=environment)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert not done.stdout
        return done.returncode, done.stderr

    code, text = error("--from-topic", f"{name}.order")
    assert (code, TopicsError.exit_code) == (6, 6)
    assert f"{name}.order does not exist" in text
    assert f"the nearest is {name}.orders" in text
    code, text = error("--from-topic", f"{name}.orders")
    assert (code, InputError.exit_code) == (11, 11)
    assert "has no records that can be read" in text
    assert error("--from-topic", "x.raw")[0] == 11
    assert error("--from-topic", "a", "--label-topic", "a")[0] == 11
    for options in (
        ("--from-topic", "a", "--label", "late"),
        ("--label-topic", "a"),
        ("--from-topic", "a", "--from", "b.csv"),
        ("--from-topic", "a", "--format", "csv"),
    ):
        assert error(*options)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_sample_is_from_all_partitions_and_bounded(name: str, broker: EmbeddedBroker) -> None:
    producer = create(broker, {name: 3})
    for number in range(30_000):
        producer.produce(name, orjson.dumps({"id": number}), partition=number % 2)
        producer.poll(0)
    producer.produce(name, orjson.dumps({"id": 30_000}), partition=2)
    producer.flush(30)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
    sample = sample_topic(settings, name)
    assert (sample.partitions, sample.total) == (3, 30_001)
    assert len(sample.rows) == 6_001
    assert len({one.row["id"] for one in sample.rows}) == len(sample.rows)
    found = {(one.record.partition, one.record.offset) for one in sample.rows}
    assert len(found) == len(sample.rows)
    assert {(0, 0), (0, 7_500), (0, 14_999), (1, 0), (1, 7_500), (1, 14_999), (2, 0)} <= found


def test_records_and_keys_in_avro_are_read_by_their_schemas(
    name: str, tmp_path: Path, broker: EmbeddedBroker
) -> None:
    folder = tmp_path / "schemas"
    folder.mkdir()
    (folder / "7-any-value.avsc").write_bytes(orjson.dumps(SCHEMA))
    (folder / "8-any-key.avsc").write_text('"string"')
    producer = create(broker, {name: 2})
    for number in range(60):
        text = f"r{number}".encode()
        # The length of a text in Avro is its double.
        key = add_frame(bytes([2 * len(text)]) + text, 8)
        producer.produce(name, add_frame(avro(number), 7), key)
    producer.flush(30)
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    settings = Settings(kafka=kafka, registry=RegistrySettings(url=f"file://{folder}"))
    written, guess = write_pipeline_of_topics(
        "x", tmp_path / "x", settings, ChosenTopics(name), ChosenColumns()
    )
    assert guess.events.fields == {"place_x": "place.x"}
    assert guess.pipeline.event_id.column.name == "id"
    assert guess.key_reason == "the event id, which is the key of the records"
    assert guess.pipeline.event_time.column.times[0] in range(1_740_960_000_000, 1_740_960_060_000)
    assert not any(isinstance(one, RecordKey) for one in guess.events.fields.values())
    assert sorted(path.name for path in written) == ["x.avsc", "x.py", "x_label.avsc"]
    assert 'format="avro"' in (tmp_path / "x" / "x.py").read_text()


def avro(number: int) -> bytes:
    """Return a reading without its frame."""
    buffer = BytesIO()
    reading = {
        "id": f"r{number}",
        "at": (1_740_960_000 + number) * 10**6,
        "place": {"x": number / 7},
    }
    fastavro.schemaless_writer(buffer, SCHEMA, reading)
    return buffer.getvalue()
