"""Topics of sources change while ingest reads them: it continues, or one partition waits."""

import time
from pathlib import Path
from urllib.request import urlopen

import orjson
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from tests.attached_system import PARTITIONS, AttachedSystem
from tests.running_system import System
from tests.transfer.clusters import unique_name

REFUND = {"ts": 1_700_000_000, "amount": 1}


def test_ingest_reads_added_partitions_and_waits_where_records_were_deleted_unread(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start("ingest")
        system.send_orders(50)
        system.await_ingested()
        refunds, added = system.topic("refunds"), PARTITIONS["refunds"]
        admin = make_admin(system.settings)
        admin.create_partitions([NewPartitions(refunds, added + 1)])[refunds].result(60)
        system.until(
            lambda: len(admin.list_topics(refunds, timeout=60).topics[refunds].partitions) > added,
            10,
            "no partition was added",
        )
        send_refund(system, "added", added)
        system.await_ingested()
        system.terminate("ingest-0")
        # Two records of partition 0 are deleted unread, one is left.
        for number in range(3):
            send_refund(system, f"deleted-{number}", 0)
        # A new client: the connections of the other one have been idle for too long.
        admin = make_admin(system.settings)
        delete_before(admin, refunds, 0, end_of(admin, refunds, 0) - 1)
        send_refund(system, "elsewhere", 1)
        system.start("ingest")
        system.until(lambda: "elsewhere" in ingested_refunds(system), 60, "nothing was read")
        system.until(lambda: "source-held" in alarms(system), 10, "no alarm")
        assert "deleted-2" not in ingested_refunds(system)
        shown = system.command("status", "PIPELINE", "--json")
        (worker,) = next(
            role["workers"]
            for role in orjson.loads(shown.stdout)["roles"]
            if role["role"] == "ingest"
        )
        assert worker["reasons"] == [
            "1 partitions wait for the acceptance of records deleted unread, or of a recreated "
            "topic"
        ]
        # Lines are wrapped.
        doctor = " ".join(system.command("doctor", "PIPELINE").stdout.split())
        assert f"2 records of {refunds}[0] were deleted before ingest read them" in doctor
        system.terminate("ingest-0")
        system.start("ingest", STREAM_APP_WORKER__ACCEPT_DATA_LOSS="true")
        system.until(lambda: "deleted-2" in ingested_refunds(system), 60, "it still waits")
        assert system.ingested()["refunds lost"] == 2
        system.until(lambda: "source-records-lost" in alarms(system), 10, "no alarm")


@pytest.mark.faults
def test_a_topic_that_is_recreated_holds_its_partitions_and_no_others(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Also if the new one has as many records as were read of the old one, and more."""
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start("ingest")
        system.send_orders(50)
        system.await_ingested()
        refunds, admin = system.topic("refunds"), make_admin(system.settings)
        before = end_of(admin, refunds, 0)
        admin.delete_topics([refunds])[refunds].result(60)
        create(system, refunds)
        for number in range(before + 3):
            send_refund(system, f"new-{number}", 0)
        system.send_verdict("o-later")
        system.until(
            lambda: b"o-later" in {message.key() for message in system.read("labels")},
            90,
            "other sources are not read",
        )
        system.until(lambda: "source-held" in alarms(system), 60, "no alarm")
        assert system.workers["ingest-0"].poll() is None
        assert not any(name.startswith("new-") for name in ingested_refunds(system))
        assert "the topic was recreated" in (tmp_path / "ingest-0.log").read_text()
        system.terminate("ingest-0")
        system.start("ingest", STREAM_APP_WORKER__ACCEPT_DATA_LOSS="true")
        system.until(
            lambda: {f"new-{number}" for number in range(before + 3)} <= ingested_refunds(system),
            60,
            "the new topic is not read from its first record",
        )


def test_a_missing_topic_holds_back_no_other_one_and_is_read_once_it_exists(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        refunds, admin = system.topic("refunds"), make_admin(system.settings)
        admin.delete_topics([refunds])[refunds].result(60)
        system.start("ingest")
        system.send_verdict("first")
        await_verdict(system, "first")
        create(system, refunds)
        send_refund(system, "late", 1)
        system.until(lambda: "late" in ingested_refunds(system), 60, "the topic is not read")
        admin = make_admin(system.settings)
        admin.delete_topics([refunds])[refunds].result(60)
        missing = f"topic {refunds} does not exist, or this user may not see it"
        system.until(lambda: missing in ingest_reasons(system), 60, "nothing says so")
        system.send_verdict("second")
        await_verdict(system, "second")
        assert system.workers["ingest-0"].poll() is None
        # No consumer has created it.
        assert refunds not in admin.list_topics(timeout=60).topics
        found = system.said(refunds)
        unreadable = "a topic of a source cannot be read, all others continue"
        assert [one["event"] for one in found] == [
            unreadable,
            "a topic of a source can be read now",
            unreadable,
        ]
        assert found[0]["why"] == "it does not exist, or this user may not see it"


def test_ingest_without_sources_waits_until_it_is_stopped(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """It ends only when it is stopped: a service manager would start it for ever."""
    with System(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start("ingest")
        file = tmp_path / "data" / "run" / system.name / "ingest-0.json"
        system.until(file.exists, 60, "it has no address")
        address = orjson.loads(file.read_bytes())
        url = f"http://{address['host']}:{address['port']}/readyz"
        with urlopen(url, timeout=60) as answer:
            assert answer.status == 200
        text = system.log("ingest-0")
        lines = [orjson.loads(line) for line in text.splitlines() if line.startswith('{"role"')]
        (said,) = [line for line in lines if line["level"] != "info"]
        assert said["event"] == (
            f"{system.name} declares no sources that ingest reads, so this worker has nothing to "
            "do until it is stopped"
        )
        system.terminate("ingest-0")


def create(system: AttachedSystem, topic: str) -> None:
    """Create the topic of the refunds, once it is deleted everywhere."""
    admin = make_admin(system.settings)
    system.until(lambda: topic not in admin.list_topics(timeout=60).topics, 20, "it still exists")
    admin.create_topics([NewTopic(topic, PARTITIONS["refunds"], 1)])[topic].result(60)
    time.sleep(0.5)


def await_verdict(system: AttachedSystem, name: str) -> None:
    """Wait until a label was forwarded."""
    system.until(
        lambda: name.encode() in {message.key() for message in system.read("labels")},
        60,
        "other sources are not read",
    )


def ingest_reasons(system: AttachedSystem) -> list[str]:
    """Return why the worker is not ready, as `status` says it."""
    roles = orjson.loads(system.command("status", "PIPELINE", "--json").stdout)["roles"]
    workers = [worker for role in roles if role["role"] == "ingest" for worker in role["workers"]]
    return [reason for worker in workers for reason in worker["reasons"]]


def ingested_refunds(system: AttachedSystem) -> set[str]:
    """Return the ids of the refunds that were forwarded."""
    return {(message.key() or b"").decode() for message in system.read("raw")}


def alarms(system: AttachedSystem) -> set[str]:
    """Return the names of the alarms that were ever raised."""
    return {value["name"] for value in system.values("monitoring") if value["kind"] == "alarm"}


def send_refund(system: AttachedSystem, name: str, partition: int) -> None:
    value = orjson.dumps({**REFUND, "order": name})
    # A new producer knows an added partition at once.
    producer = Producer({"bootstrap.servers": system.servers, "log_level": 0})
    producer.produce(system.topic("refunds"), value, b"k", partition=partition)
    assert producer.flush(30) == 0


def end_of(admin: AdminClient, topic: str, partition: int) -> int:
    (found,) = admin.list_offsets({TopicPartition(topic, partition): OffsetSpec.latest()}).values()
    return int(found.result(60).offset)


def delete_before(admin: AdminClient, topic: str, partition: int, offset: int) -> None:
    for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(60)
