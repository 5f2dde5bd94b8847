"""A batch that aiokafka cannot decode ends as records and unreadable ones, never as an error."""

import struct
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import TopicPartition

from stream_app.records import Record, UnreadableRecord
from stream_app.worker.batch_decoding import FetchedBytes
from stream_app.worker.faust_transport import PlainRecords

PARTITION = TopicPartition("payments.raw", 3)
GOOD: list[tuple[str, Any]] = [("team", b"a"), ("none", None)]
READ_COMMITTED = 1
HEADER_BYTES = 61


class Latin1(str):
    """Header name that a foreign producer encodes as Latin-1."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return super().encode("latin-1")


def batch(
    base: int,
    headers: Iterable[list[tuple[str, Any]]],
    codec: int = 0,
    producer: int = -1,
    *,
    transactional: bool = False,
) -> bytes:
    """Return the bytes of a batch with one record for each list of headers."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, transactional, producer, 0, 0, 1 << 20)
    for index, one in enumerate(headers):
        builder.append(index, 1000 + index, b"key", b"value", one)
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, base)
    return bytes(built)


def read(data: bytes, position: int, aborted: Any = ()) -> tuple[list[Record], int]:
    """Return the records of fetched bytes and the offset to fetch next."""
    records = PlainRecords(
        PARTITION, FetchedBytes(data), aborted, position, None, None, True, READ_COMMITTED
    )
    return list(records), records.next_fetch_offset


def damaged(data: bytes) -> bytes:
    """Return a batch with another last byte, and so with a wrong checksum."""
    return data[:-1] + bytes([data[-1] ^ 255])


def sealed(data: bytes) -> bytes:
    """Return a batch with the right checksum of what it has now."""
    from aiokafka.record.util import calc_crc32c

    return data[:17] + struct.pack(">I", calc_crc32c(data[21:])) + data[21:]


@pytest.mark.parametrize("codec", range(5))
def test_a_header_name_that_is_not_utf8_gets_escapes(codec: int) -> None:
    bad: list[tuple[str, Any]] = [(Latin1("näme"), b"x"), *GOOD]
    data = batch(5, [GOOD, bad, []], codec) + batch(8, [GOOD])
    records, following = read(data, 5)
    assert [record.offset for record in records] == [5, 6, 7, 8]
    assert records[1] == Record(
        "payments.raw", 3, 6, 1001, b"key", b"value",
        (("n\\xe4me", b"x"), *GOOD),
    )  # fmt: skip
    assert [record.headers for record in records if record.offset != 6] == [
        tuple(GOOD), (), tuple(GOOD),
    ]  # fmt: skip
    assert following == 9


def test_records_before_the_position_are_not_read_again() -> None:
    bad: list[tuple[str, Any]] = [(Latin1("ä"), b"x")]
    records, following = read(batch(5, [bad, bad, bad]), 6)
    assert [record.offset for record in records] == [6, 7]
    assert following == 8


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5, 7])
def test_a_batch_that_cannot_be_decompressed_is_one_unreadable_record_per_offset(
    codec: int,
) -> None:
    data = bytearray(batch(5, [GOOD] * 3))
    data[22] = codec
    records, following = read(batch(4, [GOOD]) + sealed(bytes(data)) + batch(8, [GOOD]), 4)
    assert [(record.offset, isinstance(record, UnreadableRecord)) for record in records] == [
        (4, False), (5, True), (6, True), (7, True), (8, False),
    ]  # fmt: skip
    assert {(record.key, record.value, record.headers) for record in records[1:4]} == {
        (None, None, ())
    }
    assert following == 9


def test_a_batch_with_a_wrong_checksum_is_given_up_offset_by_offset() -> None:
    data = batch(4, [GOOD]) + damaged(batch(5, [GOOD, GOOD])) + batch(7, [GOOD])
    records, position = read(data, 4)
    assert ([record.offset for record in records], position) == ([4], 5)
    # The broker returns fetched bytes from the batch of the position on.
    rest = data[len(batch(4, [GOOD])) :]
    found = []
    while position < 7:
        records, position = read(rest, position)
        found += records
    assert found == [
        UnreadableRecord("payments.raw", 3, offset, -1, None, None) for offset in (5, 6)
    ]
    records, position = read(batch(7, [GOOD]), 7)
    assert ([record.offset for record in records], position) == ([7], 8)


def test_records_of_an_aborted_transaction_stay_hidden() -> None:
    bad: list[tuple[str, Any]] = [(Latin1("ä"), b"x")]
    data = batch(5, [bad, GOOD], producer=9, transactional=True) + batch(7, [GOOD])
    records, following = read(data, 5, [(9, 5)])
    assert [record.offset for record in records] == [7]
    assert following == 8


@pytest.mark.parametrize("position", range(HEADER_BYTES, HEADER_BYTES + 40, 3))
def test_any_corrupt_record_ends_as_records_of_the_right_offsets(position: int) -> None:
    data = bytearray(batch(5, [GOOD, GOOD]))
    data[position % len(data)] ^= 0x55
    records, following = read(sealed(bytes(data)) + batch(7, [GOOD]), 5)
    assert following == 8
    assert records[-1].offset == 7
    assert {type(record) for record in records} <= {Record, UnreadableRecord}
