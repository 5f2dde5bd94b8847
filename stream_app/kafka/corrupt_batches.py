"""Ends of batches that librdkafka cannot decompress: it fetches such a batch again and again."""

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream_app.kafka.clients import ClientOwner, make_consumer

_TIMEOUT = 10.0
_POLL_SECONDS = 0.1
_UNDECODABLE = frozenset({KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED})


def is_undecodable(error: KafkaError) -> bool:
    """Return True if a batch cannot be decompressed."""
    return error.code() in _UNDECODABLE


def batch_end(config: Mapping[str, Any], topic: str, partition: int, offset: int) -> int | None:
    """Return the first offset after the batch with an offset, None if the cluster is away.

    The error of librdkafka does not tell it, so it is searched by reading from other offsets: a
    read that begins within the batch fails.

    Args:
        config: result of `client_config`.
        offset: an offset within a batch that cannot be decoded.
    """
    try:
        with closing(_Probe(config)) as probe:
            high = probe.end(topic, partition)
        bad, good, step = offset, max(high, offset + 1), 1
        while good - bad > 1:
            tried = bad + step if bad + step < good else (bad + good) // 2
            # A new client each time: errors of an earlier read may still arrive.
            with closing(_Probe(config)) as probe:
                is_bad = probe.fails_from(topic, partition, tried)
            if is_bad:
                bad, step = tried, 2 * step
            else:
                good = tried
    except (KafkaException, TimeoutError):
        return None
    return good


class _Probe:
    """Consumer for one request."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._owner = ClientOwner[Consumer](make_consumer(config, fetch_error_backoff_ms=10))

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
