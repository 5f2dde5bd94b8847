"""A reader leaves out a batch of garbage with the right checksum, and says so."""

import asyncio
from random import Random

import pytest
from confluent_kafka import Message

from stream_app.kafka.corrupt_batches import batch_end
from stream_app.kafka.partition_reader import PartitionReader
from tests.kafka.test_message_headers import mock_servers, produce
from tests.worker.test_batch_decoding import GOOD, HEADER_BYTES, batch, sealed

__all__ = ["mock_servers"]

SILENT = {"log_level": 0}


def garbage(count: int) -> bytes:
    intact = batch(0, [GOOD] * count)
    return sealed(intact[:HEADER_BYTES] + Random(1).randbytes(len(intact) - HEADER_BYTES))


def test_a_batch_of_garbage_is_left_out(
    mock_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"bootstrap.servers": mock_servers, **SILENT}
    # From offset 1, a search in growing steps could pass over offsets 4 and 5.
    for records in (garbage(3), batch(0, [GOOD] * 2), garbage(12), batch(0, [GOOD])):
        asyncio.run(produce(mock_servers, "t", records))
    with PartitionReader(config) as reader:
        messages = list(reader.records({("t", 0): (0, 19)}))
        assert [message.offset() for message in messages] == [0, 4, 5, 18]
        reader.assign({("t", 0): 10})
        found: list[Message] = []
        while not found:
            found = reader.poll()
        assert [message.offset() for message in found] == [18]
    assert capsys.readouterr().err.splitlines() == [
        f"t[0]: {count} records from offset {start} on are left out: they cannot be decoded"
        for start, count in ((1, 3), (6, 12), (10, 8))
    ]


def test_a_batch_that_can_be_decoded_is_not_left_out(mock_servers: str) -> None:
    config = {"bootstrap.servers": mock_servers, **SILENT}
    asyncio.run(produce(mock_servers, "t", batch(0, [GOOD] * 2)))
    assert [batch_end(config, "t", 0, offset) for offset in (0, 2, 3)] == [0, 2, 3]
