"""Options, creation and closing of Kafka clients, and the errors of an unreachable cluster."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Thread, current_thread
from typing import Any, Generic, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata

from stream_app.errors import KafkaUnavailableError, StreamAppError
from stream_app.interruption import uninterrupted
from stream_app.kafka.access_errors import access_error, is_rejection, kafka_error, missing_right
from stream_app.kafka.lost_brokers import STATISTICS, BrokerRestorer
from stream_app.kafka.security import librdkafka_options
from stream_app.kafka.transient_errors import LEADER_MOVES
from stream_app.records import ENVELOPE_BYTES
from stream_app.settings import KafkaSettings, Settings

ClientConfig = dict[str, Any]
"""Options of librdkafka by their own names; secrets in it do not show in its `repr`."""

_LOG = logging.getLogger("stream_app.kafka.librdkafka")
_SILENT = 0
_DEBUG = 7
C = TypeVar("C", Consumer, Producer, AdminClient)

# Without the first three, librdkafka hangs after some restarts of a broker, because it keeps a dead
# connection, and a cached answer about the coordinator (librdkafka issue 5511): a producer sends
# nothing any more, a consumer fetches nothing, and a call that sends offsets does not return.
_RECONNECT: Mapping[str, int] = {
    "connections.max.idle.ms": 3000,
    "topic.metadata.refresh.interval.ms": 1000,
    "metadata.max.age.ms": 2000,
    # An idle connection is opened again for the next request. With librdkafka's maximum of 10 s,
    # every second commit after a pause of 4 s took 1.3 to 5.7 s.
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 250,
}

ONE_IN_FLIGHT: Mapping[str, int] = {"max.in.flight.requests.per.connection": 1}
"""Options of a producer that may be new to a partition and send more than one batch to it.

librdkafka takes the success of a batch for that of all earlier ones, and a broker accepts any batch
as the first of a producer. With two on their way, a broker that does not lead the partition yet may
reject the first and accept the second: the first is lost, and reported as delivered.
"""

# Seconds of one request; between requests the client reports that the cluster rejects it.
_REQUEST_SECONDS = 0.5


def bootstrap_servers(settings: Settings) -> str:
    """Return the address of the configured cluster, or of the embedded broker.

    Raises:
        KafkaUnavailableError: neither is a cluster configured nor does the embedded broker run.
    """
    if settings.kafka.bootstrap_servers:
        return settings.kafka.bootstrap_servers
    from stream_app.broker.embedded import EmbeddedBroker

    broker = EmbeddedBroker(
        settings.data_dir / "kafka", port=settings.broker.port, cache_dir=settings.cache_dir
    )
    if not broker.status().running:
        raise KafkaUnavailableError(
            "No Kafka: the embedded broker is not running and no cluster is configured",
            "Run `stream-app broker start` or `stream-app up`, "
            "or set STREAM_APP_KAFKA__BOOTSTRAP_SERVERS",
        )
    return broker.bootstrap_servers


def client_config(settings: Settings) -> ClientConfig:
    """Return the options that every client needs to reach the cluster.

    A client must be polled before and between blocking calls: only then does it fetch tokens and
    report errors.

    Raises:
        SettingsError: security settings contradict each other.
    """
    debug = settings.log.level == "debug"
    # Even at level 0 librdkafka logs fatal errors, which are reported anyway.
    _LOG.disabled = not debug
    return {
        **librdkafka_options(settings.kafka),
        "bootstrap.servers": bootstrap_servers(settings),
        "client.id": "stream-app",
        "log_level": _DEBUG if debug else _SILENT,
        "logger": _LOG,
        **_RECONNECT,
        # Otherwise a request for a missing topic creates it, with the broker's partition count.
        "allow.auto.create.topics": False,
    }


def consumer_config(
    config: Mapping[str, Any], group: str = "stream-app-reader", **options: str | int
) -> ClientConfig:
    """Return the options of a consumer of committed records that neither subscribes nor commits.

    Args:
        config: result of `client_config`.
        group: group whose committed offsets can be asked for; librdkafka requires one.
        options: further options, with underscores for dots.
    """
    return {
        **config,
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        # With a longer wait, a partition without new records delays the others.
        "fetch.wait.max.ms": 50,
        **_dotted(options),
    }


def producer_config(settings: Settings, **options: str | int) -> ClientConfig:
    """Return the options of an idempotent producer that by default partitions keys like Java's.

    Args:
        options: further options, with underscores for dots.
    """
    return {
        **client_config(settings),
        "partitioner": "murmur2_random",
        "enable.idempotence": True,
        **ONE_IN_FLIGHT,
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
        **_dotted(options),
    }


def _dotted(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in options.items()}


class ClientOwner(Generic[C]):
    """Owner of one librdkafka client, the only place that closes one.

    Only the thread that calls a client may close it: librdkafka does not return, or crashes, if a
    client is destroyed during a call. Another thread may close it once the caller has ended or has
    handed it over. Closing takes up to a second; it can run in the background.
    """

    def __init__(self, client: C) -> None:
        self._client: C | None = client
        self._caller: Thread | None = None

    @property
    def client(self) -> C:
        """The client, which the caller must not keep beyond `close` or `hand_over`."""
        if self._client is None:
            raise RuntimeError("the Kafka client is closed")
        self._caller = current_thread()
        return self._client

    def hand_over(self) -> None:
        """Let any thread close or call the client: the caller is in no call and begins none."""
        self._caller = None

    def close(self) -> None:
        """Close the client and wait until librdkafka has released it. Idempotent.

        Raises:
            RuntimeError: another thread may be in a call of the client.
        """
        self._check_caller()
        client, self._client = self._client, None
        if isinstance(client, Consumer):
            client.close()

    def close_in_background(self) -> None:
        """Close the client in a thread of its own and return at once; idempotent as `close`."""
        self._check_caller()
        if self._client is not None:
            # The copy holds the last reference, so the new thread destroys the client.
            copy, self._client = ClientOwner(self._client), None
            Thread(target=copy.close, name="closing").start()

    def _check_caller(self) -> None:
        caller = self._caller
        if self._client is None or caller in (None, current_thread()):
            return
        if caller is not None and caller.is_alive():
            raise RuntimeError(
                f"the thread {current_thread().name} closes a Kafka client that the thread "
                f"{caller.name} calls"
            )


class ConnectionErrors:
    """An `error_cb` that keeps the most telling error instead of logging all.

    Attributes:
        last: error to report, None if there was none.
    """

    def __init__(self, servers: str, kafka: KafkaSettings) -> None:
        self.servers = servers
        self.last: KafkaError | None = None
        self._kafka = kafka

    @classmethod
    def of(cls, settings: Settings) -> "ConnectionErrors":
        """Return an empty collector for the configured cluster."""
        return cls(bootstrap_servers(settings), settings.kafka)

    def __call__(self, error: KafkaError) -> None:
        if error.code() in LEADER_MOVES:
            return
        if self.last is None or not _is_consequence(error):
            self.last = error

    @property
    def rejected(self) -> bool:
        """True if the cluster answers and rejects this client, so that waiting does not help."""
        return self.last is not None and is_rejection(self.last)

    def unavailable(self) -> StreamAppError:
        """Return the error to raise: `AccessError` if the cluster rejects this client."""
        if self.last is None:
            reason = "no answer"
        elif denied := access_error(self.last, self.servers, self._kafka):
            return denied
        else:
            reason = _reason(self.last)
        return KafkaUnavailableError(
            f"Kafka at {self.servers} cannot be reached: {reason}",
            "Check that the broker runs and STREAM_APP_KAFKA__BOOTSTRAP_SERVERS is its address",
        )


def make_admin(settings: Settings, timeout: float = 6.0) -> AdminClient:
    """Return an admin client that has reached the cluster.

    Args:
        timeout: seconds to wait for an answer.

    Raises:
        AccessError: the cluster rejects this client.
        KafkaUnavailableError: no answer in time.
    """
    config = client_config(settings)
    errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
    config = {**config, "error_cb": errors}
    admin = _create(AdminClient, config)
    deadline = time.monotonic() + timeout
    while (remaining := deadline - time.monotonic()) > 0 and not errors.rejected:
        admin.poll(0)
        try:
            admin.list_topics(timeout=min(_REQUEST_SECONDS, remaining))
            return admin
        except KafkaException:
            admin.poll(0)
    owner = ClientOwner(admin)
    del admin
    owner.close_in_background()
    raise errors.unavailable()


def make_producer(
    settings: Settings, errors: ConnectionErrors | None = None, **options: str | int
) -> Producer:
    """Return an idempotent producer that by default partitions keys like Java's.

    Args:
        errors: collector of connection errors.
        options: further options of librdkafka, with underscores for dots.
    """
    config = producer_config(settings, **options)
    errors = errors or ConnectionErrors(config["bootstrap.servers"], settings.kafka)
    return _create(Producer, {**config, "error_cb": errors})


def make_transactional_producer(config: Mapping[str, Any]) -> Producer:
    """Return a producer from a complete configuration; raises as `TokenSource.token`."""
    return _create(Producer, config)


def make_consumer(
    config: Mapping[str, Any], group: str = "stream-app-reader", **options: str | int
) -> Consumer:
    """Return a consumer of committed records; parameters as of `consumer_config`."""
    return _create(Consumer, consumer_config(config, group, **options))


def _create(client_type: type[C], config: Mapping[str, Any]) -> C:
    """Return a client; raises the reason if it would get no token.

    Otherwise the constructor waits ten seconds and does not say why.
    """
    if "oauth_cb" in config:
        config["oauth_cb"](None)
    restorer = BrokerRestorer(config["bootstrap.servers"], config.get("stats_cb"))
    config = {**STATISTICS, **config, "stats_cb": restorer}
    for name, value in config.items():
        if name.endswith("_cb"):
            uninterrupted(value)
    client = client_type(config)
    restorer.watch(client)
    return client


def cluster_topics(admin: AdminClient, timeout: float = 10.0) -> ClusterMetadata:
    """Return all topics of the cluster that this user may see, with their partitions."""
    admin.poll(0)
    try:
        return admin.list_topics(timeout=timeout)
    except KafkaException as error:
        raise kafka_error(error.args[0], "list the topics") from None


@contextmanager
def leaders_reloaded_on_error(
    client: AdminClient | Consumer | Producer, topics: Iterable[str]
) -> Iterator[None]:
    """Load the leaders of topics again after an error, before the request is repeated.

    After an outage librdkafka may keep a former leader, or none, until it next loads metadata.
    """
    try:
        yield
    except KafkaException:
        for topic in set(topics):
            with suppress(KafkaException):
                client.list_topics(topic, timeout=_REQUEST_SECONDS)
        raise


def check_visible(
    client: AdminClient | Consumer | Producer, topics: Iterable[str], timeout: float = 5.0
) -> None:
    """Raise `AccessError` if one of the topics is not missing but hidden from this user."""
    for topic in topics:
        try:
            error = client.list_topics(topic, timeout=timeout).topics[topic].error
        except KafkaException as raised:
            raise kafka_error(raised.args[0], f"describe {topic}") from None
        if error is not None and (denied := missing_right(error, f"see {topic}")):
            raise denied


def _is_consequence(error: KafkaError) -> bool:
    """Return True for an error that follows from another, such as a send on a closed connection."""
    text = str(error.str())
    return (
        error.code() == KafkaError._ALL_BROKERS_DOWN
        or "Send failed" in text
        or "Disconnected (after" in text
    )


def _reason(error: KafkaError) -> str:
    text = str(error.str()).split("/bootstrap: ", 1)[-1]
    return text.split(" (after", 1)[0]
