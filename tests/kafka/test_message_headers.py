"""Headers of fetched messages are safe to read, whatever bytes a producer used for their names."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from confluent_kafka import Producer

from stream_app.kafka.partition_reader import PartitionReader, headers_of
from stream_app.kafka.retrying_reader import as_record
from stream_app.transfer.record_rendering import json_line, text_line
from tests.worker.test_batch_decoding import GOOD, Latin1, batch

NOT_LEADER = 6


@pytest.fixture
def mock_servers() -> Iterator[str]:
    """Address of librdkafka's broker within the process, with a topic `t`."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    producer.produce("t", b"first", partition=0)
    assert producer.flush(60) == 0
    (broker,) = producer.list_topics(timeout=60).brokers.values()
    yield f"{broker.host}:{broker.port}"
    # The broker ends with its producer.
    del producer


async def produce(servers: str, topic: str, records: bytes) -> None:
    client = AIOKafkaClient(bootstrap_servers=servers)
    await client.bootstrap()
    try:
        node = client.get_random_node()
        request = ProduceRequest(None, -1, 5000, [(topic, [(0, records)])])
        code = NOT_LEADER
        # A new topic has no leader at first.
        while code == NOT_LEADER:
            answer = await client.send(node, request)
            code = answer.topics[0][1][0][1]
        assert code == 0
    finally:
        await client.close()


def test_a_header_whose_name_is_not_utf8_is_left_out(mock_servers: str) -> None:
    bad: list[tuple[str, Any]] = [(Latin1("näme"), b"x"), *GOOD, (Latin1("ü"), None)]
    with PartitionReader({"bootstrap.servers": mock_servers, "log_level": 0}) as reader:
        asyncio.run(produce(mock_servers, "t", batch(0, [GOOD, *([bad] * 50), []])))
        messages = list(reader.records({("t", 0): (1, 53)}))
    assert [headers_of(message) for message in messages] == [*([GOOD] * 51), ()]
    assert [headers_of(message) for message in messages] == [*([GOOD] * 51), ()]
    assert as_record(messages[1]).headers == tuple(GOOD)
    assert b'"headers":{"team":"a","none":""}' in json_line(messages[1], b"1")
    assert b"value" in text_line(messages[1], messages[1].value())
