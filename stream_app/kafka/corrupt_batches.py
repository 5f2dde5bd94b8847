"""Ends of batches that librdkafka cannot decode: it fetches such a batch again and again.

It reports a batch that it cannot decompress. One whose records are garbage it takes for cut off,
and fetches it again without an error; only its statistics tell.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream_app.kafka.clients import ClientOwner, make_consumer

_TIMEOUT = 10.0
_POLL_SECONDS = 0.1
# Number of offsets that are tried one by one. After them the search takes larger steps, and so may
# pass over intact batches before another batch that cannot be decoded.
EXACT_OFFSETS = 64
_STATISTICS_MS = 100
# Number of fetches from one offset that must end with a cut-off batch and no record.
_FETCHES = 3
_UNDECODABLE = frozenset({KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED})


def is_undecodable(error: KafkaError) -> bool:
    """Return True if a batch cannot be decompressed."""
    return error.code() in _UNDECODABLE


def batch_end(config: Mapping[str, Any], topic: str, partition: int, offset: int) -> int | None:
    """Return the first offset after the batch with an offset, None if the cluster is away.

    It is the offset itself if the batch can be decoded. librdkafka does not tell the end, so it is
    searched by reading from other offsets: a read that begins within the batch fails. Adjacent
    batches that cannot be decoded count as one.

    Args:
        config: result of `client_config`.
        offset: an offset within a batch that may be undecodable.
    """
    try:
        with closing(_Probe(config)) as probe:
            high = probe.end(topic, partition)
            if not probe.fails_from(topic, partition, offset):
                return offset
        bad, good, step = offset, max(high, offset + 1), 1
        while good - bad > 1:
            tried = bad + step if bad + step < good else (bad + good) // 2
            # A new client each time: errors of an earlier read may still arrive.
            with closing(_Probe(config)) as probe:
                is_bad = probe.fails_from(topic, partition, tried)
            if is_bad:
                bad, step = tried, 1 if tried - offset < EXACT_OFFSETS else 2 * step
            else:
                good = tried
    except (KafkaException, TimeoutError):
        return None
    return good


class _CutOffBatches:
    """A `stats_cb` that counts fetches from one offset that end with a cut-off batch.

    The broker returns at least one whole batch, so such a batch is corrupt if nothing else comes.

    Attributes:
        count: number of these fetches since the offset to fetch is what it is.
    """

    def __init__(self) -> None:
        self.count = 0
        self._offset: int | None = None
        self._before = 0

    def __call__(self, statistics: str) -> None:
        found = orjson.loads(statistics)
        cut = sum(broker["rxpartial"] for broker in found["brokers"].values())
        offsets = [
            partition["next_offset"]
            for topic in found["topics"].values()
            for number, partition in topic["partitions"].items()
            # The partition -1 holds what has no partition yet.
            if number != "-1" and partition["fetch_state"] == "active"
        ]
        offset = offsets[0] if offsets else None
        if offset is None or offset != self._offset:
            self._offset, self._before = offset, cut
        self.count = cut - self._before


class _Probe:
    """Consumer for one read."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._cut_off = _CutOffBatches()
        config = {**config, "stats_cb": self._cut_off}
        consumer = make_consumer(
            config, fetch_error_backoff_ms=10, statistics_interval_ms=_STATISTICS_MS
        )
        self._owner = ClientOwner[Consumer](consumer)

    def end(self, topic: str, partition: int) -> int:
        """Return the end offset of a partition."""
        wanted = TopicPartition(topic, partition)
        bounds: tuple[int, int] = self._owner.client.get_watermark_offsets(wanted, _TIMEOUT)
        return bounds[1]

    def fails_from(self, topic: str, partition: int, offset: int) -> bool:
        """Return True if the batch at an offset cannot be decoded.

        Raises:
            TimeoutError: the cluster does not answer.
        """
        consumer, deadline = self._owner.client, time.monotonic() + _TIMEOUT
        consumer.assign([TopicPartition(topic, partition, offset)])
        while time.monotonic() < deadline:
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                if self._cut_off.count >= _FETCHES:
                    return True
                continue
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                return False
            if is_undecodable(error):
                return True
        raise TimeoutError

    def close(self) -> None:
        """Close the consumer without waiting for librdkafka."""
        self._owner.close_in_background()
