"""A topic that scorers read directly, filled by the default producer of librdkafka."""

from pathlib import Path

import orjson
from confluent_kafka.admin import NewPartitions

from stream_app.broker import EmbeddedBroker
from stream_app.errors import TopicsError
from stream_app.kafka.clients import make_admin
from stream_app.kafka.partitioner import librdkafka_partition
from tests.direct_system import BASE, DECLARED, PARTITIONS, DirectSystem
from tests.running_system import headers
from tests.transfer.clusters import unique_name

ORDERS = 120


def test_every_record_has_one_outcome_and_the_labels_meet_their_events(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Placed by crc32; and dead letters of wrong partitions are replayed to the right ones."""
    with DirectSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_all(2)
        system.start("ingest")
        system.send_orders(ORDERS)
        system.await_orders(90)
        assert system.check_orders() == system.counts
        codes = system.record_counts().dead
        misplaced = ORDERS // 20
        assert codes == {
            "wrong-partition": misplaced,
            "key-mismatch": misplaced,
            "invalid-json": misplaced,
        }
        system.check_labels(waiting=misplaced)
        # Everything of a key is in the partition of its key.
        for kind in ("scored", "labels"):
            for message in system.read(kind):
                if message.key() is not None:
                    home = librdkafka_partition(message.key() or b"", PARTITIONS)
                    assert message.partition() == home
        check_commands(system)
        done = system.command(
            "dead-letters", "replay", "PIPELINE", "--code", "wrong-partition", "--yes", "--why", "x"
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        system.until(
            lambda: system.record_counts().waiting == 0, 30, "labels wait for replayed events"
        )
        assert system.record_counts().scored == ORDERS + misplaced


def check_commands(system: DirectSystem) -> None:
    """Check what commands say about the topic."""
    status = orjson.loads(system.command("status", "PIPELINE", "--json").stdout)
    inputs = {one["topic"] for one in status["inputs"] if one["role"] == "score"}
    assert system.orders_topic in inputs
    assert status["record_counts"]["filtered"] == system.counts["filtered"]
    assert status["record_counts"]["balanced"]
    doctor = " ".join(system.command("doctor", "PIPELINE").stdout.split())
    assert f"{system.orders_topic}: " in doctor
    assert "keys are not where crc32 puts them: these records are dead letters" in doctor
    explained = system.command("explain", "PIPELINE", "o2").stdout
    assert f"{system.orders_topic}" in explained
    assert "scored" in explained
    filtered = system.command("explain", "PIPELINE", "q3").stdout
    assert "filtered" in filtered
    rights = system.command("acl", "show", "PIPELINE", "--role", "scorer").stdout
    assert system.orders_topic in rights
    tried = system.command("dead-letters", "try", "PIPELINE", "--code", "wrong-partition").stdout
    assert "would pass" in tried, tried
    assert "would fail" not in tried, tried


def test_added_partitions_end_all_scorers_with_one_line(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with DirectSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_all(2)
        system.send_orders(20)
        system.until(lambda: system.record_counts().scored == 20, 60, "not scored")
        admin = make_admin(system.settings)
        topic = system.orders_topic
        admin.create_partitions([NewPartitions(topic, PARTITIONS + 1)])[topic].result(10)
        said = (
            f"Topic {topic} is read directly and has 4 partitions, and the pipeline has 3: "
            "keys would not meet their state"
        )
        for name in ("score-0", "score-1"):
            assert system.workers[name].wait(60) == TopicsError.exit_code
            assert said in system.log(name)
            assert "Traceback" not in system.log(name)
        again = system.start("score", "0")
        assert again.wait(60) == TopicsError.exit_code
        assert said in system.log("score-0")


def test_a_recreated_topic_is_held_and_then_read_from_its_first_record(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Labels are read meanwhile, also while the topic is missing."""
    accepting = DECLARED.replace("direct=True,", 'direct=True, on_loss="continue",')
    with DirectSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_all()
        system.send_orders(20)
        system.until(lambda: system.record_counts().scored == 20, 60, "not scored")
        admin, topic = make_admin(system.settings), system.orders_topic
        admin.delete_topics([topic])[topic].result(10)
        system.until(
            lambda: topic not in admin.list_topics(timeout=5).topics, 20, "it still exists"
        )
        system.send_label(1, BASE * 1000)
        system.producer.flush(10)
        system.until(lambda: system.record_counts().labels == 1, 60, "labels are not read")
        assert system.workers["score-0"].poll() is None
        system.create_orders()
        for number in range(200):
            system.send_order(f"new-{number}")
        system.until(lambda: "a partition of a source waits" in log(system), 90, "it says nothing")
        system.send_label(2, BASE * 1000)
        system.producer.flush(10)
        system.until(lambda: system.record_counts().labels == 2, 60, "labels are not read")
        assert system.record_counts().scored == 20
        system.terminate("score-0")
        system.pipeline.write_text(accepting.replace("NAME", system.name))
        system.start("score", "0")
        system.until(lambda: system.record_counts().scored == 220, 90, "it is not read")
        status = orjson.loads(system.command("status", "PIPELINE", "--json").stdout)
        assert status["record_counts"]["balanced"]


def log(system: DirectSystem) -> str:
    return (system.folder / "score-0.log").read_text()


def test_the_newest_records_are_the_start_once_and_for_all(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """A worker that is killed before it has read anything does not begin elsewhere later."""
    latest = DECLARED.replace('start="earliest",', 'start="latest",', 1)
    with DirectSystem(broker.bootstrap_servers, tmp_path, unique_name(), latest) as system:
        system.send_order("before")
        system.start_all()
        system.until(
            lambda: len(system.read("score.state")) >= PARTITIONS, 60, "nothing is committed"
        )
        system.kill("score-0")
        system.send_order("after")
        system.start("score", "0")
        system.until(lambda: bool(system.values("scored")), 60, "not scored")
        assert [value["event_id"] for value in system.values("scored")] == ["after"]
        assert headers(system.read("scored")[0]) == {}
