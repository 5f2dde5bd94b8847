"""Records of other Kafka clients are scored, through `ingest` and directly."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Message

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.partitioner import java_partition
from stream_app.topic_kinds import TopicKind, topic_name
from tests.attached_system import PARTITIONS, AttachedSystem
from tests.foreign_clients.log_segments import batch_codecs
from tests.foreign_clients.producers import (
    CLIENTS,
    CODECS,
    CONFLUENT,
    CONFLUENT_WITH_MURMUR2,
    KAFKA_PYTHON,
    KCAT,
    KCAT_WITH_MURMUR2,
    ForeignClient,
    SentRecord,
)
from tests.running_system import System
from tests.small_pipeline import HOUR, NOW, event, label
from tests.transfer.clusters import unique_name

# Orders by each client with each codec, so that every outcome occurs with each of them.
ORDERS = 20


def test_every_client_and_codec_is_read_through_ingest(
    broker: EmbeddedBroker, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Each client places by its own partitioner, on topics with 6, 4 and 4 partitions."""
    with AttachedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_all()
        system.start("ingest")
        clients = installed(subtests, CLIENTS)
        for client in clients:
            made = {
                codec: [
                    SentRecord(system.topic(source), key, value)
                    for source, key, value in system.make_orders(
                        ORDERS, by=client.name, codec=codec
                    )
                ]
                for codec in CODECS
            }
            client.send(system.servers, made)
        system.await_sources(90)
        # Checks the outcome of each record by its coordinates.
        outcomes = system.check_sources()
        batches = len(clients) * len(CODECS)
        # Of 20 orders: 2 quotes, one without id, one with a wrong amount, one sent twice.
        assert outcomes == {
            "scored": batches * (16 + 20),
            "dead-lettered": batches * 3,
            "filtered": batches * 2,
            "duplicate": batches,
            "tombstone": batches,
        }
        for source, partitions in PARTITIONS.items():
            messages = list(system.sent_records(source).values())
            check_placement(messages, partitions)
            # The codec of librdkafka's small batches may be none.
            used = {
                by: codecs - {"none"}
                for by, codecs in used_codecs(broker.log_file.parents[1], messages).items()
            }
            assert used.keys() == {(client.name, codec) for client in clients for codec in CODECS}
            for (by, codec), found in used.items():
                expected = {codec} - {"none"}
                # All batches of a client with librdkafka may be small.
                assert found == expected or (not found and by in {CONFLUENT.name, KCAT.name})


def installed(subtests: pytest.Subtests, clients: Iterable[ForeignClient]) -> list[ForeignClient]:
    """Return the clients that are installed; each of the others is a skipped subtest."""
    found = []
    for client in clients:
        with subtests.test(client.name):
            if missing := client.missing():
                pytest.skip(missing)
            found.append(client)
    return found


def check_placement(messages: Iterable[Message], partitions: int) -> None:
    """Check that each client has placed its records as it is said to."""
    placements = {client.name: client.partition for client in CLIENTS}
    for message in messages:
        by = sender(message)
        if by is not None:
            wanted = placements[by[0]](message.key() or b"", partitions)
            assert message.partition() == wanted, (by, message.key())


def used_codecs(log_folder: Path, messages: Iterable[Message]) -> dict[tuple[str, str], set[str]]:
    """Return the codecs of the batches that were sent, by client and by codec asked for."""
    found: dict[tuple[str, str], set[str]] = {}
    logs: dict[int, list[tuple[int, str]]] = {}
    for message in messages:
        by, partition = sender(message), message.partition() or 0
        if by is None:
            continue
        if partition not in logs:
            logs[partition] = list(batch_codecs(log_folder, message.topic() or "", partition))
        batch = bisect_right(logs[partition], message.offset() or 0, key=itemgetter(0)) - 1
        found.setdefault(by, set()).add(logs[partition][batch][1])
    return found


def sender(message: Message) -> tuple[str, str] | None:
    """Return the client and the codec of a record, None if it has no fields."""
    try:
        fields = orjson.loads(message.value() or b"")
    except ValueError:
        return None
    return fields["by"], fields["codec"]


EVENTS = 20


def test_clients_that_send_directly_need_the_partitioner_of_the_pipeline(
    broker: EmbeddedBroker, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Labels that crc32 has placed elsewhere find no event, and `doctor` says why."""
    with System(broker.bootstrap_servers, tmp_path, unique_name(), partitions=4) as system:
        system.start_all()
        displaced = joined = 0
        direct = (*CLIENTS, CONFLUENT_WITH_MURMUR2, KCAT_WITH_MURMUR2)
        for place, client in enumerate(installed(subtests, direct)):
            numbers = range(place * EVENTS, (place + 1) * EVENTS)
            keys = [f"e{number}".encode() for number in numbers]
            wrong = sum(java_partition(key, 4) != client.partition(key, 4) for key in keys)
            events_by = KAFKA_PYTHON if wrong else client
            send(system, events_by, "raw", {number: event(number, NOW) for number in numbers})
            send(system, client, "labels", {number: label(number) for number in numbers})
            displaced += wrong
            joined += EVENTS - wrong
        assert displaced > 0
        # The clock of each partition passes what twelve events have reached.
        later = range(1000, 1100)
        send(
            system, KAFKA_PYTHON, "raw", {number: event(number, NOW + 9 * HOUR) for number in later}
        )
        system.complete_labels(NOW + 9 * HOUR)
        counts = system.await_outcomes()
        system.until(
            lambda: system.record_counts().waiting == 0, 30, "labels without an event still wait"
        )
        counts = system.record_counts()
        assert counts.joined == joined
        assert counts.label_dead == {"unknown-event": displaced}
        assert counts.scored == system.sent["raw"]
        system.check_outcomes()
        found = " ".join(system.command("doctor", "PIPELINE").stdout.split())
        raw, labels = f"{system.name}.raw", f"{system.name}.labels"
        sent = joined + displaced
        assert f"{raw}: the {system.sent['raw']} newest keys are where murmur2" in found
        assert (
            f"{displaced} of the {sent} newest records of {labels} are not in the partition that "
            "murmur2 chooses, the partitioner of Java, kafka-python, aiokafka, kafkajs: they are "
            "where crc32 puts them, the default of librdkafka and kcat"
        ) in found


def send(
    system: System, client: ForeignClient, kind: TopicKind, records: Mapping[int, dict[str, Any]]
) -> None:
    """Send records to a topic of the pipeline, keyed by their id, with all codecs in turn."""
    topic = topic_name(system.name, kind)
    batches: dict[str, list[SentRecord]] = {codec: [] for codec in CODECS}
    for number, fields in records.items():
        batches[CODECS[number % len(CODECS)]].append(
            SentRecord(topic, fields["id"].encode(), orjson.dumps(fields))
        )
    client.send(system.servers, batches)
    system.sent[kind] += len(records)
