"""Records of foreign topics for tests of `init --from-topic`: orders with their verdicts."""

import random
from collections.abc import Callable
from typing import Any

import orjson

from stream_app.kafka.partitioner import java_partition, librdkafka_partition
from stream_app.records import Record

ORDERS, VERDICTS = "shop.orders", "shop.verdicts"
PARTITIONS = {ORDERS: 6, VERDICTS: 4}
BASE = 1_740_960_000
COUNT = 600
Row = dict[str, Any]
Send = Callable[[int, Row, bytes | None], tuple[Row | None, bytes | None]]
"""Changes value and key of a record."""


def unchanged(_: int, row: Row, key: bytes | None) -> tuple[Row | None, bytes | None]:
    return row, key


def order_records(change: Send = unchanged, count: int = COUNT) -> list[Record]:
    """Return orders: nested, in Unix seconds, keyed by the buyer, placed by librdkafka."""
    chance = random.Random(5)
    sent = []
    for number in range(count):
        buyer = f"b{chance.randrange(90)}"
        row = {
            "kind": "order",
            "order": {
                "id": f"o{number}",
                "buyer": {"id": buyer, "country": "NL" if number % 3 else "DE"},
            },
            "payment": {"ts": BASE + 60 * number, "card": chance.choice(["visa", "amex"])},
            "amount": round(chance.uniform(1, 90), 2),
        }
        sent.append((number, *change(number, row, buyer.encode())))
    return _placed(ORDERS, sent, librdkafka_partition)


def verdict_records(change: Send = unchanged, count: int = COUNT) -> list[Record]:
    """Return 0/1 labels with the order's id, an hour after it, keyed by it, placed by murmur2."""
    chance = random.Random(6)
    sent = []
    for number in range(count):
        row = {
            "order": f"o{number}",
            "ts": BASE + 60 * number + 3600,
            "fraud": int(chance.random() < 0.2),
        }
        sent.append((number, *change(number, row, f"o{number}".encode())))
    return _placed(VERDICTS, sent, java_partition)


def _placed(
    topic: str,
    sent: list[tuple[int, Row | None, bytes | None]],
    partition_of: Callable[[bytes, int], int],
) -> list[Record]:
    records, ends = [], dict.fromkeys(range(PARTITIONS[topic]), 0)
    for number, row, key in sent:
        count = len(ends)
        partition = number % count if key is None else partition_of(key, count)
        value = None if row is None else orjson.dumps(row)
        time = (BASE + 60 * number + 5) * 1000
        records.append(Record(topic, partition, ends[partition], time, key, value))
        ends[partition] += 1
    return sorted(records, key=lambda record: (record.partition, record.offset))
