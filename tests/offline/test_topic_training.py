"""Training from topics gives what training from files with the same records gives."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.acl import AclRole, required_acls
from stream_app.kafka.clients import make_admin
from stream_app.loading import load_pipeline
from stream_app.offline import topic_lines
from stream_app.offline.topic_simulation import open_topic_simulation
from stream_app.pipeline import parsed
from tests import avro_samples
from tests.attached_system import AttachedSystem
from tests.kafka.security.cluster import SecuredCluster
from tests.offline import phishing
from tests.offline.trained import trained
from tests.running_system import System, kafka_environment
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker
FROM_AVRO = """
from dataclasses import replace

from stream_app import RecordKey, Source
from tests.offline.phishing import sites

declared = sites("NAME")
shop = Source(
    topic="NAME.shop",
    name="shop",
    start="earliest",
    format="avro",
    fields={"id": "site.id", "age_of_domain": "site.age"},
)
verdicts = Source(
    topic="NAME.verdicts",
    name="verdicts",
    start="earliest",
    format="avro",
    fields={"id": RecordKey()},
)
pipeline = replace(
    declared, sources=(shop,), label=replace(declared.label, sources=(verdicts,))
)
"""
AGE = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1}


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    with System(
        broker.bootstrap_servers, tmp_path, unique_name(), phishing.DECLARED, partitions=3
    ) as made:
        yield made


def send(system: System, path: str, *, labels: bool) -> None:
    """Send the records of a file, in its order, and those that are none."""
    for line in Path(path).read_bytes().splitlines():
        key = orjson.loads(line)["id"].encode()
        system.send("labels" if labels else "raw", line, key)


def train(system: System, *arguments: str) -> dict[str, Any]:
    done = system.command("train", "PIPELINE", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def train_error(system: System, *arguments: str) -> str:
    """Return the line with which training from topics ends."""
    done = system.command("train", "PIPELINE", "--from-topics", *arguments)
    assert done.returncode in range(2, 30), done.stderr
    (line,) = done.stderr.splitlines()
    return line


def comparable(found: dict[str, Any]) -> dict[str, Any]:
    """Return what does not depend on time, on names of places, and on the order of partitions."""
    summary = {
        name: value
        for name, value in found["summary"].items()
        if name not in ("seconds", "microseconds", "causes", "order")
    }
    causes = {cause["code"]: cause["count"] for cause in found["summary"]["causes"]}
    offline = {name: value for name, value in found["offline"].items() if name != "inputs"}
    return {"summary": summary, "causes": causes, "offline": offline}


def test_the_model_is_that_of_the_same_records_as_files(system: System, tmp_path: Path) -> None:
    events, labels = phishing.write(tmp_path)
    lines = Path(events).read_bytes().splitlines()
    # A duplicate, an event with a wrong type, and an event that comes late.
    wrong = orjson.dumps({**orjson.loads(lines[700]), "at": "yesterday", "id": "wrong"})
    lines = [*lines[:50], lines[30], *lines[50:700], wrong, *lines[700:]]
    Path(events).write_bytes(b"\n".join(lines))
    send(system, labels, labels=True)
    send(system, events, labels=False)
    system.complete_labels(phishing.START)
    system.producer.flush()

    from_files = train(system, events, "--labels", labels)
    from_topics = train(system, "--from-topics")
    assert comparable(from_topics) == comparable(from_files)
    assert from_topics["summary"]["events"]["duplicates"] == 1
    assert from_topics["summary"]["labels"]["joined"] == len(phishing.seen())
    inputs = from_topics["offline"]["inputs"]
    assert {one["topic"] for one in inputs} == {f"{system.name}.raw", f"{system.name}.labels"}
    assert all(one["start"] == 0 < one["end"] for one in inputs)
    (cause,) = from_topics["summary"]["causes"]
    (place,) = cause["lines"]
    topic, _, rest = place.partition("[")
    partition, _, offset = rest.partition("]@")
    at = next(
        message
        for message in system.read("raw")
        if (message.partition(), message.offset()) == (int(partition), int(offset))
    )
    assert (topic, at.key()) == (f"{system.name}.raw", b"wrong")


def test_small_windows_and_the_model_are_the_same(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows end within batches, and by their bytes; memory is bounded by both."""
    events, labels = phishing.write(tmp_path)
    send(system, events, labels=False)
    send(system, labels, labels=True)
    system.producer.flush()
    pipeline = load_pipeline(str(system.pipeline))

    def model() -> tuple[object, dict[str, float]]:
        with open_topic_simulation(system.settings, pipeline) as topics:
            found = trained(topics.simulation)
            assert topics.events.position == topics.events.size == len(phishing.seen())
            return found.learner.learned.model.predict_proba_one({"x": 1.0}), found.metrics

    whole = model()
    monkeypatch.setattr(topic_lines, "_RECORDS", 150)
    monkeypatch.setattr(topic_lines, "_BYTES", 3_000)
    assert model() == whole


class AvroTopics:
    """Topics with the web sites in Avro, whose schemas are in a folder.

    Args:
        system: system with the pipeline of the web sites.
        folder: folder of the schemas.
    """

    def __init__(self, system: System, folder: Path) -> None:
        folder.mkdir()
        system.environment = {"STREAM_APP_REGISTRY__URL": folder.as_uri()}
        self._system, self._folder = system, folder

    def schema(self, number: int, schema: Any) -> dict[str, Any]:
        """Add a schema to the folder."""
        (self._folder / f"{number}-any.avsc").write_bytes(orjson.dumps(schema))
        found: dict[str, Any] = schema
        return found

    def send_directly(self) -> None:
        """Send events and labels to the pipeline's own topics."""
        pipeline = load_pipeline(str(self._system.pipeline))
        raw, labels = self.schema(1, pipeline.schema), self.schema(2, pipeline.label.schema)
        for site in phishing.seen():
            key = site.event["id"].encode()
            self._system.send("raw", avro_samples.framed(raw, site.event, 1), key)
            self._system.send("labels", avro_samples.framed(labels, site.label_record, 2), key)

    def send_to_sources(self) -> None:
        """Send nested events with a decimal, and labels whose event id is their key."""
        pipeline = load_pipeline(str(self._system.pipeline))
        inner = {
            "type": "record",
            "name": "Inner",
            "fields": [{"name": "id", "type": "string"}, {"name": "age", "type": ["null", AGE]}],
        }
        events = self.schema(
            3,
            avro_samples.changed(parsed(pipeline.schema), id=None, age_of_domain=None, site=inner),
        )
        labels = self.schema(4, avro_samples.changed(parsed(pipeline.label.schema), id=None))
        producer, name = self._system.producer, self._system.name
        for number, site in enumerate(phishing.seen()):
            age = Decimal(str(site.features["age_of_domain"]))
            nested = {**site.event, "site": {"id": site.event["id"], "age": age}}
            shop = avro_samples.framed(events, nested, 3)
            producer.produce(f"{name}.shop", shop, b"%d" % (number % 7))
            verdict = avro_samples.framed(labels, site.label_record, 4)
            producer.produce(f"{name}.verdicts", verdict, site.event["id"])
            producer.poll(0)
        unknown, broken = b"\0\0\0\0\x63" + shop[5:], shop[:-1]
        for value in (unknown, broken, None):
            producer.produce(f"{name}.shop", value, b"k")


@pytest.mark.parametrize("sources", [False, True])
def test_the_model_of_topics_in_avro_is_that_of_the_same_records_as_files(
    broker: EmbeddedBroker, tmp_path: Path, sources: bool
) -> None:
    declared = FROM_AVRO if sources else phishing.DECLARED
    servers, name = broker.bootstrap_servers, unique_name()
    with System(servers, tmp_path, name, declared, with_sources=sources, partitions=3) as system:
        topics = AvroTopics(system, tmp_path / "schemas")
        if sources:
            foreign = [NewTopic(f"{name}.{topic}", 4, 1) for topic in ("shop", "verdicts")]
            admin = make_admin(system.settings)
            for future in admin.create_topics(foreign).values():
                future.result(10)
            topics.send_to_sources()
        else:
            topics.send_directly()
        system.producer.flush()
        events, labels = phishing.write(tmp_path)
        from_files = train(system, events, "--labels", labels)
        from_topics = train(system, "--from-topics")
        assert from_topics["offline"]["metrics"] == from_files["offline"]["metrics"]
        found, joined = from_topics["summary"]["events"], from_topics["summary"]["labels"]["joined"]
        assert found["scored"] == joined == len(phishing.seen())
        dead = {"unknown-schema": 1, "invalid-avro": 1} if sources else {}
        assert (found["dead_lettered"], found.get("tombstones", 0)) == (dead, int(sources))
        system.environment = {"STREAM_APP_REGISTRY__URL": "http://127.0.0.1:9"}
        assert "schema registry" in train_error(system)


def test_a_promoted_version_scores_the_backlog_that_it_was_trained_from(
    system: System, tmp_path: Path
) -> None:
    events, labels = phishing.write(tmp_path)
    send(system, events, labels=False)
    send(system, labels, labels=True)
    system.producer.flush()
    found = train(system, "--from-topics", "--yes", "--promote", "--why", "the backlog")
    shown = system.command("models", "show", "PIPELINE", f"{found['version']}", "--json")
    manifest = orjson.loads(shown.stdout)
    assert manifest["inputs"] == found["offline"]["inputs"]
    assert manifest["origin"] == "trained"
    system.start("score")
    system.await_outcomes()
    assert {value["model"]["version"] for value in system.values("scored")} == {found["version"]}
    system.check_outcomes()


def test_sources_are_read_as_ingest_forwards_them(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Before ingest has forwarded any, after it has all, and after a source has deleted some."""
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.send_orders(200)
        before = train(system, "--from-topics")
        events, labels = before["summary"]["events"], before["summary"]["labels"]
        scored = 160 + 200
        assert (events["scored"], events["duplicates"], events["filtered"]) == (scored, 10, 20)
        assert events["dead_lettered"] == {
            "missing-field": 10,
            "wrong-type": 10,
            "invalid-json": 10,
        }
        assert (events["tombstones"], labels["joined"]) == (10, scored)
        system.start_all()
        system.start("ingest")
        system.await_sources(60)
        assert comparable(train(system, "--from-topics")) == comparable(before)
        counts = system.record_counts()
        assert (counts.scored, counts.joined) == (scored, scored)

        topic = system.topic("refunds")
        deleted = [TopicPartition(topic, number, 10) for number in range(2)]
        admin = make_admin(system.settings)
        for future in admin.delete_records(deleted).values():
            future.result(60)
        after = train(system, "--from-topics")
        # A broken one was not forwarded; all others are left in the pipeline's topic.
        lost = events["dead_lettered"]["invalid-json"] - after["summary"]["events"][
            "dead_lettered"
        ].get("invalid-json", 0)
        assert 0 <= lost <= 2
        assert after["summary"]["events"]["scored"] == scored
        assert after["summary"]["labels"]["joined"] == scored
        starts = {
            one["partition"]: one["start"]
            for one in after["offline"]["inputs"]
            if one["topic"] == topic
        }
        assert starts == {0: 10, 1: 10, 2: 0, 3: 0}


def test_each_error_is_one_line(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        empty = (
            "There are no events to learn from: no record in "
            f"{system.topic('orders')}, {system.topic('refunds')}, {system.name}.raw"
        )
        # A broker may know a new topic a little later.
        system.until(lambda: empty in train_error(system), 20, "the topics are not there")
        system.send_orders(1)
        admin = make_admin(system.settings)
        (future,) = admin.delete_topics([system.topic("refunds")]).values()
        future.result(60)
        missing = f"Topic {system.topic('refunds')} of the source refunds does not exist. Correct"
        system.until(lambda: missing in train_error(system), 20, "the topic is still there")
        for wrong in (["events.jsonl"], ["--labels", "labels.jsonl"], ["--sort"]):
            assert "leave out FILE and the options" in train_error(system, *wrong)
        assert "give a file, or --from-topics" in system.command("train", "PIPELINE").stderr


def test_a_user_needs_the_rights_on_every_topic(secured: SecuredCluster, tmp_path: Path) -> None:
    name = unique_name()
    inside = secured.address("INSIDE")
    with AttachedSystem(inside, tmp_path, name) as system:
        system.send_orders(40)
        topics = [system.topic(source) for source in ("orders", "refunds", "verdicts")]
        rules = required_acls(name, AclRole.MODEL_ADMIN, sources=topics)
        system.environment = kafka_environment(secured.user(rules))
        assert train(system, "--from-topics")["summary"]["labels"]["joined"] == 72
        for hidden in (topics[1], f"{name}.labels"):
            allowed = [rule for rule in rules if rule.name != hidden]
            system.environment = kafka_environment(secured.user(allowed))
            assert f"see {hidden}: an ACL on the topic is missing" in train_error(system)
