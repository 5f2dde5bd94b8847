"""A header name that is not UTF-8, and batches corrupt on disk, cost no record but their own."""

import asyncio
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson
import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Producer

from stream_app.broker import EmbeddedBroker
from tests.kafka.test_message_headers import produce
from tests.running_system import System, headers
from tests.small_pipeline import event
from tests.worker.test_batch_decoding import HEADER_BYTES, Latin1, sealed

pytestmark = [pytest.mark.broker, pytest.mark.faults]

AT = int(time.time() * 1000) - 1000
# Number of records and codec of the batches from offset 1 on.
BATCHES = (
    (1, "none"), (3, "gzip"), (40, "lz4"), (1, "none"), (2, "snappy"), (3, "none"), (1, "none"),
    (2, "zstd"), (3, "none"), (1, "none"), (2, "none"), (1, "none"),
)  # fmt: skip
SEALED = "garbage with the right checksum"
GARBAGE = "garbage"


@pytest.fixture
def system(own_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    servers = own_broker.bootstrap_servers
    with System(servers, tmp_path, "corrupt", partitions=1) as system:
        yield system


def send_batch(system: System, first: int, count: int, codec: str) -> None:
    """Send events as one batch."""
    producer = Producer(
        {
            "bootstrap.servers": system.servers,
            "log_level": 0,
            "linger.ms": 1000,
            "compression.type": codec,
        }
    )
    for number in range(first, first + count):
        fields = event(number, AT + number)
        producer.produce("corrupt.raw", orjson.dumps(fields), fields["id"].encode(), partition=0)
    assert producer.flush(60) == 0
    system.sent["raw"] += count


def corrupt(folder: Path, kinds: dict[int, str]) -> None:
    """Overwrite bytes of the batches that begin at offsets of `corrupt.raw`."""
    (path,) = folder.glob("**/corrupt.raw-0/*0.log")
    data, found = path.read_bytes(), b""
    while data:
        base, size = struct.unpack_from(">qi", data)
        one, data = data[: size + 12], data[size + 12 :]
        match kinds.pop(base, None):
            case kind if kind == GARBAGE:
                one = one[:HEADER_BYTES] + Random(1).randbytes(len(one) - HEADER_BYTES)
            case kind if kind == SEALED:
                one = sealed(one[:HEADER_BYTES] + Random(1).randbytes(len(one) - HEADER_BYTES))
        found += one
    assert not kinds
    path.write_bytes(found)


def test_workers_and_commands_get_past_what_cannot_be_decoded(
    own_broker: EmbeddedBroker, system: System, tmp_path: Path
) -> None:
    # Offset 0 has a header name in Latin-1.
    builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, 0, 0, 1 << 20)
    builder.append(0, AT, b"e0", orjson.dumps(event(0, AT)), [(Latin1("näme"), b"x")])
    asyncio.run(produce(system.servers, "corrupt.raw", bytes(builder.build())))
    system.sent["raw"] += 1
    first = 1
    for count, codec in BATCHES:
        send_batch(system, first, count, codec)
        first += count
    own_broker.stop()
    corrupt(
        tmp_path / "kafka",
        {2: SEALED, 5: GARBAGE, 46: SEALED, 52: GARBAGE, 54: SEALED, 58: GARBAGE},
    )
    own_broker.start()
    lost = {*range(2, 45), 46, 47, *range(52, 57), 58, 59}

    system.start_all()
    counts = system.await_outcomes()

    assert counts.scored == 9
    assert counts.dead == {"unreadable-record": len(lost)}
    letters = {int(headers(m)["stream-app-original-offset"]): m for m in system.read("raw.dlq")}
    system.check_outcomes()
    assert letters.keys() == lost
    assert {(letter.key(), letter.value()) for letter in letters.values()} == {(None, None)}
    good = ["e0", "e1", "e45", "e48", "e49", "e50", "e51", "e57", "e60"]
    assert sorted(value["event_id"] for value in system.values("scored")) == sorted(good)
    shown = system.command(
        "consume", "PIPELINE", "raw", "--from-beginning", "--until-end", "--json"
    )
    assert shown.returncode == 0
    assert [orjson.loads(line)["key"] for line in shown.stdout.splitlines()] == good
    for event_id in ("e0", "e60"):
        explained = system.command("explain", "PIPELINE", event_id)
        assert (explained.returncode, "scored" in explained.stdout) == (0, True)
    missing = system.command("explain", "PIPELINE", "e47")
    assert "No record of corrupt is about an event e47" in missing.stderr
    for command in ("list", "groups", "status"):
        assert system.command("dead-letters", command, "PIPELINE").returncode == 0
    replayed = system.command(
        "dead-letters", "replay", "PIPELINE", "--code", "unreadable-record", "--yes", "--why", "x"
    )
    assert "have no stored value" in replayed.stdout
    assert system.command("status", "PIPELINE").returncode == 0
    diagnosed = system.command("doctor", "PIPELINE")
    assert diagnosed.returncode in (0, 15)
    assert all(worker.poll() is None for worker in system.workers.values())
