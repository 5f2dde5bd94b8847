"""Topics of sources change while ingest reads them: it continues, or one partition waits."""

import time
from pathlib import Path

import orjson
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from tests.attached_system import PARTITIONS, AttachedSystem
from tests.transfer.clusters import unique_name

REFUND = {"ts": 1_700_000_000, "amount": 1}


def test_ingest_reads_added_partitions_and_waits_where_records_were_deleted_unread(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start("ingest")
        system.send_orders(50)
        await_ingested(system)
        refunds, added = system.topic("refunds"), PARTITIONS["refunds"]
        admin = make_admin(system.settings)
        admin.create_partitions([NewPartitions(refunds, added + 1)])[refunds].result(10)
        system.until(
            lambda: len(admin.list_topics(refunds, timeout=5).topics[refunds].partitions) > added,
            10,
            "no partition was added",
        )
        send_refund(system, "added", added)
        await_ingested(system)
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
            "1 partitions wait for the acceptance of records that were deleted before they were "
            "read"
        ]
        system.terminate("ingest-0")
        system.start("ingest", STREAM_APP_WORKER__ACCEPT_DATA_LOSS="true")
        system.until(lambda: "deleted-2" in ingested_refunds(system), 60, "it still waits")
        assert system.ingested()["refunds lost"] == 2
        system.until(lambda: "source-records-lost" in alarms(system), 10, "no alarm")


def test_a_topic_that_is_recreated_holds_its_partitions_and_no_others(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start("ingest")
        system.send_orders(50)
        await_ingested(system)
        refunds, admin = system.topic("refunds"), make_admin(system.settings)
        admin.delete_topics([refunds])[refunds].result(10)
        time.sleep(1)
        admin.create_topics([NewTopic(refunds, PARTITIONS["refunds"], 1)])[refunds].result(10)
        send_refund(system, "new", 0)
        system.send_verdict("o-later")
        system.until(
            lambda: b"o-later" in {message.key() for message in system.read("labels")},
            90,
            "other sources are not read",
        )
        system.until(lambda: "source-held" in alarms(system), 60, "no alarm")
        assert system.workers["ingest-0"].poll() is None
        assert "new" not in ingested_refunds(system)


def await_ingested(system: AttachedSystem) -> None:
    """Wait until every record of the sources has an outcome of ingest."""
    sent = {source: len(system.sent_records(source)) for source in PARTITIONS}
    system.until(
        lambda: all(system.ingested()[source] == count for source, count in sent.items()),
        90,
        f"not all of {sent} are ingested: {system.ingested()}",
    )


def ingested_refunds(system: AttachedSystem) -> set[str]:
    """Return the ids of the refunds that were forwarded."""
    return {(message.key() or b"").decode() for message in system.read("raw")}


def alarms(system: AttachedSystem) -> set[str]:
    """Return the names of the alarms that were ever raised."""
    return {value["name"] for value in system.values("monitoring") if value["kind"] == "alarm"}


def send_refund(system: AttachedSystem, name: str, partition: int) -> None:
    value = orjson.dumps({**REFUND, "order": name})
    # A new producer knows an added partition at once.
    producer = Producer({"bootstrap.servers": system.servers})
    producer.produce(system.topic("refunds"), value, b"k", partition=partition)
    assert producer.flush(30) == 0


def end_of(admin: AdminClient, topic: str, partition: int) -> int:
    (found,) = admin.list_offsets({TopicPartition(topic, partition): OffsetSpec.latest()}).values()
    return int(found.result(10).offset)


def delete_before(admin: AdminClient, topic: str, partition: int, offset: int) -> None:
    for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(10)
