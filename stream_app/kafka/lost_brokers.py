"""Restorer of clients that have forgotten all brokers.

A broker that stops, or that was frozen, answers for a moment that its cluster has no brokers. Then
librdkafka removes all that it knows. If the connection closes at about the same time, it never goes
back to the bootstrap servers (its issue 5301, open with 2.16.0), and reports no error: a producer
sends nothing any more, a consumer fetches nothing. Only `rd_kafka_brokers_add` helps, which
confluent-kafka does not offer.
"""

import ctypes
import logging
from collections.abc import Callable, Mapping
from functools import cache

from confluent_kafka import Consumer, Producer, cimpl
from confluent_kafka.admin import AdminClient

_LOG = logging.getLogger(__name__)

STATISTICS: Mapping[str, int] = {"statistics.interval.ms": 2000}
"""Options of a client whose brokers are restored; it must be polled."""

# Brokers of any other source are librdkafka's own and have no address.
_BROKERS = ('"source":"learned"', '"source":"configured"')


class BrokerRestorer:
    """A `stats_cb` that adds the bootstrap servers again to a client without brokers.

    Args:
        servers: the client's `bootstrap.servers`.
        then: another `stats_cb` of the client, called afterwards.
    """

    def __init__(self, servers: str, then: Callable[[str], object] | None = None) -> None:
        self._servers = servers
        self._then = then
        # Not the client itself, whose owner decides when its last reference ends.
        self._handle: int | None = None

    def watch(self, client: Consumer | Producer | AdminClient) -> None:
        """Name the client that reports its statistics to this object."""
        self._handle = _handle(client)

    def __call__(self, statistics: str) -> None:
        self._restore(statistics)
        if self._then is not None:
            self._then(statistics)

    def _restore(self, statistics: str) -> None:
        library = _library()
        if library is None or self._handle is None or any(map(statistics.count, _BROKERS)):
            return
        _LOG.debug("A Kafka client has no brokers left, and gets its bootstrap servers again")
        library.rd_kafka_brokers_add(self._handle, self._servers.encode())


def _handle(client: Consumer | Producer | AdminClient) -> int | None:
    """Return the address of librdkafka's part of a client, None where it cannot be found."""
    library = _library()
    if library is None:
        return None
    # The first field of confluent-kafka's clients, after the header of every Python object.
    field = ctypes.c_void_p.from_address(id(client) + object.__basicsize__)
    # librdkafka knows the client as the argument of its callbacks.
    is_found = field.value is not None and library.rd_kafka_opaque(field) == id(client)
    return field.value if is_found else None


@cache
def _library() -> ctypes.CDLL | None:
    """Return the librdkafka of confluent-kafka, None where it exports no functions."""
    try:
        library = ctypes.CDLL(cimpl.__file__)
        library.rd_kafka_opaque.argtypes = [ctypes.c_void_p]
        library.rd_kafka_opaque.restype = ctypes.c_void_p
        library.rd_kafka_brokers_add.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    except (OSError, AttributeError):
        return None
    return library
