"""Decodes fetched batches that aiokafka cannot decode, so that they end as dead letters.

Producers may send header names that are not UTF-8 and codecs that aiokafka lacks, and disks corrupt
batches. aiokafka raises for the whole batch each time that it is fetched.
"""

from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import Any

import aiokafka.consumer.fetcher as fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py as decode_varint

from stream_app.records import Record, UnreadableRecord
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

# The Cython variant of `decode_varint` reads beyond the end of its buffer.

# Base offset and length of the rest of a batch, in all formats.
_FRAME = Struct(">qi")
_MAGIC_AT = 16
_LAST_OFFSET_DELTA_AT = 23
# Records of magic 0 and 1 have no batch header; Kafka 4 writes only magic 2.
_MAGIC = 2
_HEADER_SIZE = _DefaultRecordBatchPy.HEADER_STRUCT.size


class FetchedBytes(MemoryRecords):  # type: ignore[misc]
    """Fetched bytes of a partition, which stay available beside aiokafka's batches."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class TolerantRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Fetched records, of which those that cannot be decoded are `UnreadableRecord`s.

    A header name that is not UTF-8 gets escapes in place of the invalid bytes.
    """

    _records: FetchedBytes
    next_fetch_offset: int
    _records_iterator: Any

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._first = self.next_fetch_offset

    def __next__(self) -> Record:
        while True:
            try:
                record: Record = next(self._records_iterator)
                return record
            except StopIteration:
                self._records_iterator = None
                raise
            except Exception as error:
                self._records_iterator = self._recover(error)

    def _recover(self, error: Exception) -> Iterator[Record]:
        """Yield the rest of the batch that failed, and the records after it."""
        position = self.next_fetch_offset
        batch = _batch_at(self._records.data, position)
        is_intact = batch is not None and batch.validate_crc()
        log.warning(
            "fetched batch cannot be decoded as it is", topic=self._tp.topic,
            partition=self._tp.partition, offset=position, error=type(error).__name__,
            checksum="right" if is_intact else "wrong",
        )  # fmt: skip
        if batch is None or not is_intact:
            # The end of the batch is unknown. The broker knows it: if the next offset belongs
            # to the same batch, the next fetch returns it again.
            if position == self._first:
                self.next_fetch_offset = position + 1
                yield self._unreadable(position)
            return
        if not self._is_hidden(batch):
            yield from self._tolerant(batch)
        self.next_fetch_offset = batch.next_offset
        yield from self._unpack_records()

    def _is_hidden(self, batch: _DefaultRecordBatchPy) -> bool:
        """Return True for transaction markers and records of aborted transactions."""
        aborted = self._aborted_producers
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch:
            # The marker ends the transaction.
            aborted.discard(batch.producer_id)
            return True
        return batch.is_transactional and batch.producer_id in aborted

    def _tolerant(self, batch: _DefaultRecordBatchPy) -> Iterator[Record]:
        """Yield the records of a batch from the position on, unreadable ones for the rest."""
        try:
            for record in _read_batch(self._tp, batch):
                if record.offset >= self.next_fetch_offset:
                    self.next_fetch_offset = record.offset + 1
                    yield record
        except Exception as error:
            log.warning(
                "records of a batch are unreadable", topic=self._tp.topic,
                partition=self._tp.partition, offset=self.next_fetch_offset,
                records=batch.next_offset - self.next_fetch_offset, error=type(error).__name__,
            )  # fmt: skip
            for offset in range(self.next_fetch_offset, batch.next_offset):
                self.next_fetch_offset = offset + 1
                yield self._unreadable(offset, batch.max_timestamp)

    def _unreadable(self, offset: int, timestamp: int = -1) -> UnreadableRecord:
        return UnreadableRecord(self._tp.topic, self._tp.partition, offset, timestamp, None, None)


def _batch_at(data: bytes, position: int) -> _DefaultRecordBatchPy | None:
    """Return the first batch that ends after an offset, None if there is none or it is cut."""
    start = 0
    while start + _HEADER_SIZE <= len(data):
        base_offset, length = _FRAME.unpack_from(data, start)
        end = start + _FRAME.size + length
        if end > len(data) or end - start < _HEADER_SIZE or data[start + _MAGIC_AT] != _MAGIC:
            return None
        (delta,) = unpack_from(">i", data, start + _LAST_OFFSET_DELTA_AT)
        if base_offset + delta >= position:
            return _DefaultRecordBatchPy(data[start:end])
        start = end
    return None


def _read_batch(tp: Any, batch: _DefaultRecordBatchPy) -> Iterator[Record]:
    """Yield the records of a batch; raises at the first one that is corrupt."""
    batch._maybe_uncompress()
    buffer, at = batch._buffer, batch._pos
    for _ in range(batch._num_records):
        size, at = decode_varint(buffer, at)
        end = at + size
        if not at < end <= len(buffer):
            raise ValueError("a record is longer than its batch")
        yield _read_record(tp, batch, bytearray(buffer[at:end]))
        at = end


def _read_record(tp: Any, batch: _DefaultRecordBatchPy, body: bytearray) -> Record:
    # Byte 0 holds attributes, of which Kafka has none.
    since_first, at = decode_varint(body, 1)
    delta, at = decode_varint(body, at)
    is_append_time = batch.timestamp_type == batch.LOG_APPEND_TIME
    timestamp = batch.max_timestamp if is_append_time else batch.first_timestamp + since_first
    key, at = _read_bytes(body, at)
    value, at = _read_bytes(body, at)
    count, at = decode_varint(body, at)
    # Values may be null, which `Headers` does not say.
    headers: list[tuple[str, Any]] = []
    for _ in range(count):
        name, at = _read_bytes(body, at)
        content, at = _read_bytes(body, at)
        headers.append(((name or b"").decode("utf-8", "backslashreplace"), content))
    return Record(
        tp.topic, tp.partition, batch.base_offset + delta, timestamp, key, value, tuple(headers)
    )


def _read_bytes(body: bytearray, at: int) -> tuple[bytes | None, int]:
    """Return bytes that begin with their length, None for a negative one, and their end."""
    size, at = decode_varint(body, at)
    if size < 0:
        return None, at
    if at + size > len(body):
        raise ValueError("a field is longer than its record")
    return bytes(body[at : at + size]), at + size
