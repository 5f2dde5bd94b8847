"""The cluster: whether both of our clients are let in, what it is, and whether its limits suit us."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import ConfigResource, OffsetSpec, ResourceType

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped, warning
from stream_app.errors import AccessError, KafkaUnavailableError
from stream_app.formatting import duration
from stream_app.kafka.security import aiokafka_options
from stream_app.settings import KafkaSettings
from stream_app.status.cluster_view import ask

_FETCH, _TXN_OFFSET_COMMIT = 1, 28  # numbers of requests in Kafka's protocol
_FENCED_COMMITS = 3  # version of TxnOffsetCommit that names the member of the group: KIP-447
_RELEASES = (
    (18, "4.1"),
    (17, "3.9"),
    (16, "3.7"),
    (15, "3.5"),
    (13, "3.1"),
    (12, "2.7"),
    (11, "2.3"),
)
"""Highest version of Fetch that a release of Kafka knows, newest first."""
AHEAD_SECONDS = 5.0


def check_connection(it: DoctorContext) -> Iterator[CheckResult]:
    """librdkafka, which commands, state and transactions use."""
    cluster: Any = ask(it.admin, "describe the cluster", lambda: {"": it.admin.describe_cluster()})[
        ""
    ]
    kafka = it.settings.kafka
    yield ok(f"cluster {cluster.cluster_id} at {it.servers} answers, brokers: {len(cluster.nodes)}")
    yield ok(f"it lets us in {_identity(kafka)}")


def _identity(kafka: KafkaSettings) -> str:
    encrypted = "over TLS" if kafka.security_protocol.endswith("ssl") else "without encryption"
    if kafka.security_protocol.startswith("sasl_"):
        name = kafka.oauth_client_id if kafka.sasl_mechanism == "OAUTHBEARER" else kafka.username
        return f"as {name} ({kafka.sasl_mechanism}), {encrypted}"
    if kafka.certificate_file is not None:
        return f"as the subject of {kafka.certificate_file}, {encrypted}"
    return f"as anyone, {encrypted}"


def check_second_client(it: DoctorContext) -> Iterator[CheckResult]:
    """aiokafka, which the workers fetch with; it also tells what the broker can do."""
    brokers = it.metadata.brokers.values()  # as they announce themselves to clients
    servers = [(broker.host, broker.port) for broker in brokers]
    versions = asyncio.run(_api_versions(servers, aiokafka_options(it.settings.kafka)))
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
        yield ok(
            f"the workers' client connects as well; the broker speaks as Kafka {release} or newer does"
        )


async def _api_versions(
    servers: Iterable[tuple[str, int]], options: Mapping[str, Any]
) -> dict[int, int]:
    """The highest version of each request that the first broker to answer knows."""
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
        except Exception as error:  # aiokafka has a class for every reason
            reason = error
    raise KafkaUnavailableError(
        f"The workers' client, aiokafka, cannot connect: {type(reason).__name__}: {reason}",
        "Check the security settings: librdkafka, which the other checks use, may be less strict",
    )


def check_broker_limits(it: DoctorContext) -> Iterator[CheckResult]:
    """Settings of the brokers that workers depend on."""
    broker = next(iter(it.metadata.brokers))
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    try:
        found: Any = ask(
            it.admin, "read the brokers' settings", lambda: it.admin.describe_configs([resource])
        )
    except AccessError as error:
        yield skipped(f"the brokers' settings: {error.message}")
        return
    config = {name: entry.value for name, entry in next(iter(found.values())).items()}
    wrong = list(
        judge_broker(
            config, len(it.metadata.brokers), it.settings.worker.transaction_timeout_seconds
        )
    )
    yield from wrong or [ok("the brokers' settings for groups and transactions suit the workers")]


def judge_broker(
    config: Mapping[str, str], brokers: int, transaction_seconds: float
) -> Iterator[CheckResult]:
    """What in a broker's settings does not suit us; nothing if all is well."""
    longest = int(config.get("transaction.max.timeout.ms") or 900_000) / 1000
    if longest < transaction_seconds:
        yield problem(
            f"transaction.max.timeout.ms is {longest * 1000:.0f}, and the workers' transactions ask for more",
            f"Raise it, or set STREAM_APP_WORKER__TRANSACTION_TIMEOUT_SECONDS to {longest:.0f} or less",
        )
    for topic in ("offsets.topic", "transaction.state.log"):
        copies = int(config.get(f"{topic}.replication.factor") or 1)
        if copies > brokers:
            yield problem(
                f"{topic}.replication.factor is {copies}, and brokers: {brokers}",
                "Lower it, or add brokers: without that topic no worker can commit",
            )
        elif copies == 1 and brokers > 1:
            yield warning(
                f"{topic}.replication.factor is 1: without one of {brokers} brokers no worker may be able to commit",
                "Raise the replication of that internal topic to 3",
            )


def check_clock(it: DoctorContext) -> Iterator[CheckResult]:
    """No clock can be asked; but a record from the future shows that one of two clocks is wrong."""
    places = [TopicPartition(*place) for place in it.limits]
    asked = {place: OffsetSpec.max_timestamp() for place in places}
    found: dict[Any, Any] = ask(
        it.admin, "ask for the newest times", lambda: it.admin.list_offsets(asked)
    )
    now = time.time()
    newest: dict[str, float] = {}
    for place, answer in found.items():
        newest[place.topic] = max(newest.get(place.topic, 0.0), answer.timestamp / 1000)
    ahead = {
        topic: moment - now for topic, moment in newest.items() if moment - now > AHEAD_SECONDS
    }
    for topic, seconds in ahead.items():
        who = (
            "producers set wrong times"
            if topic.endswith((".raw", ".labels"))
            else "a worker's clock is ahead"
        )
        yield warning(
            f"{topic} has a record from {duration(seconds)} ahead of this machine's clock",
            f"Compare the clocks (NTP): this machine's is behind, or {who}; retention goes by these times",
        )
    if not ahead:
        yield ok(
            "no record is newer than this machine's clock; a clock that is behind cannot be seen in that way"
        )
