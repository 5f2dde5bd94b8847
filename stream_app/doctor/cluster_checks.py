"""Checks of the cluster: connections of both Kafka clients, brokers' settings, clocks."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import ConfigResource, OffsetSpec, ResourceType

from stream_app.doctor.context import CheckResult, DoctorContext, ok, problem, skipped, warning
from stream_app.errors import AccessError, KafkaUnavailableError
from stream_app.formatting import duration
from stream_app.kafka.security import aiokafka_options
from stream_app.settings import KafkaSettings
from stream_app.status.cluster_view import request

# API keys of requests in Kafka's protocol.
_FETCH, _TXN_OFFSET_COMMIT = 1, 28
# First version of TxnOffsetCommit that names the group member, so that the broker can fence it
# (KIP-447).
_FENCED_COMMITS = 3
# Highest version of Fetch that a release of Kafka supports, newest first.
_RELEASES = (
    (18, "4.1"),
    (17, "3.9"),
    (16, "3.7"),
    (15, "3.5"),
    (13, "3.1"),
    (12, "2.7"),
    (11, "2.3"),
)
AHEAD_SECONDS = 5.0


def check_connection(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that librdkafka, which commands, state and transactions use, can connect."""
    cluster: Any = request(
        context.admin, "describe the cluster", lambda: {"": context.admin.describe_cluster()}
    )[""]
    brokers = len(cluster.nodes)
    yield ok(f"cluster {cluster.cluster_id} at {context.servers} answers, brokers: {brokers}")
    yield ok(f"connected {_identity(context.settings.kafka)}")


def _identity(kafka: KafkaSettings) -> str:
    encrypted = "over TLS" if kafka.security_protocol.endswith("ssl") else "without encryption"
    if kafka.security_protocol.startswith("sasl_"):
        name = kafka.oauth_client_id if kafka.sasl_mechanism == "OAUTHBEARER" else kafka.username
        return f"as {name} ({kafka.sasl_mechanism}), {encrypted}"
    if kafka.certificate_file is not None:
        return f"as the subject of {kafka.certificate_file}, {encrypted}"
    return f"without a user name, {encrypted}"


def check_second_client(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that aiokafka, with which the workers fetch, can connect, and the broker's version."""
    # The addresses that the brokers advertise to clients.
    brokers = context.metadata.brokers.values()
    servers = [(broker.host, broker.port) for broker in brokers]
    versions = asyncio.run(_api_versions(servers, aiokafka_options(context.settings.kafka)))
    release = next(
        (name for version, name in _RELEASES if versions.get(_FETCH, 0) >= version),
        "older than 2.3",
    )
    if versions.get(_TXN_OFFSET_COMMIT, 0) < _FENCED_COMMITS:
        yield problem(
            f"the broker is Kafka {release}: it cannot fence stale workers",
            "Use Kafka 2.5 or newer",
        )
    else:
        yield ok(f"the workers' client can connect; the broker is Kafka {release} or newer")


async def _api_versions(
    servers: Iterable[tuple[str, int]], options: Mapping[str, Any]
) -> dict[int, int]:
    """Return the highest version per request that the first broker to answer supports."""
    from aiokafka.conn import create_conn
    from aiokafka.protocol.admin import ApiVersionRequest

    reason: BaseException | None = None
    for host, port in servers:
        try:
            connection = await create_conn(host, port, request_timeout_ms=5000, **options)
            try:
                answer = await connection.send(ApiVersionRequest())
                return {key: highest for key, _, highest in answer.api_versions}
            finally:
                connection.close()
        # aiokafka has an exception class for every reason.
        except Exception as error:
            reason = error
    raise KafkaUnavailableError(
        f"The workers' client, aiokafka, cannot connect: {type(reason).__name__}: {reason}",
        "Check the security settings: librdkafka, which the other checks use, may be less strict",
    )


def check_broker_limits(context: DoctorContext) -> Iterator[CheckResult]:
    """Check the brokers' settings that workers depend on."""
    brokers = context.metadata.brokers
    resource = ConfigResource(ResourceType.BROKER, str(next(iter(brokers))))
    try:
        found: Any = request(
            context.admin,
            "read the brokers' settings",
            lambda: context.admin.describe_configs([resource]),
        )
    except AccessError as error:
        yield skipped(f"the brokers' settings: {error.message}")
        return
    config = {name: entry.value for name, entry in next(iter(found.values())).items()}
    timeout = context.settings.worker.transaction_timeout_seconds
    wrong = list(evaluate_broker(config, len(brokers), timeout))
    yield from wrong or [ok("the brokers' settings for groups and transactions suit the workers")]


def evaluate_broker(
    config: Mapping[str, str], brokers: int, transaction_seconds: float
) -> Iterator[CheckResult]:
    """Yield a result for each setting of a broker that does not suit the workers.

    Args:
        config: settings of the broker by name.
        brokers: number of brokers of the cluster.
        transaction_seconds: transaction timeout of the workers.
    """
    longest = int(config.get("transaction.max.timeout.ms") or 900_000) / 1000
    if longest < transaction_seconds:
        yield problem(
            f"transaction.max.timeout.ms is {longest * 1000:.0f}, "
            f"less than the {transaction_seconds * 1000:.0f} that the workers request",
            "Raise it, or set STREAM_APP_WORKER__TRANSACTION_TIMEOUT_SECONDS to "
            f"{longest:.0f} or less",
        )
    for topic in ("offsets.topic", "transaction.state.log"):
        copies = int(config.get(f"{topic}.replication.factor") or 1)
        if copies > brokers:
            yield problem(
                f"{topic}.replication.factor is {copies}, but the cluster has {brokers} brokers",
                "Lower it, or add brokers: without that topic no worker can commit",
            )
        elif copies == 1 and brokers > 1:
            yield warning(
                f"{topic}.replication.factor is 1: workers may be unable to commit "
                f"while one of the {brokers} brokers is down",
                "Raise the replication of that internal topic to 3",
            )


def check_clock(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that no record is from the future, which would show that one of two clocks is wrong."""
    newest_spec = {
        TopicPartition(*one): OffsetSpec.max_timestamp() for one in context.offset_bounds
    }
    found: dict[Any, Any] = request(
        context.admin,
        "read the newest timestamps",
        lambda: context.admin.list_offsets(newest_spec),
    )
    now = time.time()
    newest: dict[str, float] = {}
    for partition, answer in found.items():
        newest[partition.topic] = max(newest.get(partition.topic, 0.0), answer.timestamp / 1000)
    ahead = {
        topic: moment - now for topic, moment in newest.items() if moment - now > AHEAD_SECONDS
    }
    for topic, seconds in ahead.items():
        other_cause = (
            "producers set wrong timestamps"
            if topic.endswith((".raw", ".labels"))
            else "the clock of a worker is ahead"
        )
        yield warning(
            f"{topic} has a record from {duration(seconds)} ahead of this machine's clock",
            f"Compare the clocks (NTP): this machine's is behind, or {other_cause}; "
            "retention uses these timestamps",
        )
    if not ahead:
        yield ok(
            "no record is newer than this machine's clock "
            "(this check cannot detect a clock that is behind)"
        )
