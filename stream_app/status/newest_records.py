"""Single records out of large topics, the newest of a kind or the first after an offset, without reading all."""

import time
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from stream_app.kafka.access_errors import missing_right
from stream_app.kafka.clients import ConnectionErrors
from stream_app.kafka.offsets import Limits, Place

_WINDOW = 64  # offsets; the first one that is looked into
_GROWTH = 16
_PATIENCE = 10.0  # seconds without any answer


class NewestRecords:
    """Reads committed records with a consumer that nothing else uses."""

    def __init__(self, consumer: Consumer, errors: ConnectionErrors) -> None:
        self._consumer = consumer
        self._errors = errors

    def newest(self, limits: Limits, wanted: Callable[[Message], bool]) -> dict[Place, Message]:
        """The newest wanted record of each partition that has one; reads backwards in windows that grow."""
        found: dict[Place, Message] = {}
        missing, window = dict(limits), _WINDOW
        while missing:
            starts = {place: max(low, end - window) for place, (low, end) in missing.items()}
            for message in self.between(
                {place: (starts[place], end) for place, (_, end) in missing.items()}
            ):
                if wanted(message):
                    found[place_of(message)] = message
            missing = {
                place: (low, starts[place])
                for place, (low, _) in missing.items()
                if place not in found and low < starts[place]
            }
            window *= _GROWTH
        return found

    def first(self, limits: Limits) -> dict[Place, Message]:
        """Of each partition the first record within the limits, where there is one."""
        found: dict[Place, Message] = {}
        for message in self.between(limits):
            found.setdefault(place_of(message), message)
            if len(found) == len(limits):
                break
        return found

    def between(self, limits: Limits) -> Iterator[Message]:
        """The records with start <= offset < end, in order within each partition.

        Raises `AccessError` if they may not be read, `KafkaUnavailableError` when nothing comes for 10 s.
        """
        ahead = {place: end for place, (start, end) in limits.items() if start < end}
        self._consumer.assign([TopicPartition(*place, limits[place][0]) for place in ahead])
        heard = time.monotonic()
        while ahead:
            message = self._consumer.poll(0.1)
            if message is None:
                if time.monotonic() - heard > _PATIENCE:
                    raise self._errors.unavailable()
                continue
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                denied = missing_right(error, f"read {message.topic()}")
                if (
                    denied is not None and error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED
                ):  # no group is joined
                    raise denied
                continue  # librdkafka tries again
            heard = time.monotonic()
            if _is_within(message, ahead):
                yield message


def place_of(message: Message) -> Place:
    """Topic and partition of a record."""
    return message.topic() or "", message.partition() or 0


def _is_within(message: Message, ahead: dict[Place, int]) -> bool:
    """Whether it is a record that was asked for; a partition that has been read to its end is taken out of `ahead`.

    The position tells, not the last record, for markers of transactions have offsets and are no records.
    """
    place, offset, at_end = place_of(message), message.offset() or 0, message.error() is not None
    end = ahead.get(place)
    if end is None:
        return False
    if (offset if at_end else offset + 1) >= end:
        del ahead[place]
    return not at_end and offset < end
