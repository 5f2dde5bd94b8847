"""Which rights on the cluster each role needs, and no more; read from what the topics are used for."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from stream_app.errors import AccessError, StreamAppError
from stream_app.kafka.access_errors import kafka_error
from stream_app.kafka.acl_roles import AclRole
from stream_app.kafka.topic_uses import USES
from stream_app.topic_kinds import KINDS, TopicKind, topic_name

_WORKERS = {
    AclRole.SCORER: "score",
    AclRole.LEARNER: "learn",
    AclRole.MONITOR: "monitor",
}  # as `Role.name`
_OTHERS = {
    AclRole.PRODUCER: "producers",
    AclRole.CONSUMER: "consumers",
    AclRole.REPLAYER: "replayer",
    AclRole.MODELLER: "modeller",
}
_UNSEEN = {"learn.state", "monitor.state"}  # what `stream-app status` does not read
_TIMEOUT = 30.0  # seconds


class AclRule(NamedTuple):
    """One operation on one resource; `name` is a prefix if `prefixed`."""

    operation: Literal["read", "write", "describe", "describe_configs", "create"]
    resource: Literal["topic", "group", "transactional_id"]
    name: str
    prefixed: bool = False


def rights(pipeline: str, *roles: AclRole) -> list[AclRule]:
    """The least that a user with these roles needs, sorted by resource; reading and writing include describing."""
    found = {right for role in roles for right in _rights(pipeline, role)}
    implied = {
        AclRule("describe", right.resource, right.name, right.prefixed)
        for right in found
        if _implies(right)
    }
    return sorted(
        found - implied, key=lambda right: (right.resource != "topic", right.resource, right)
    )


def grant(admin: AdminClient, principal: str, wanted: Iterable[AclRule]) -> None:
    """Give these rights to a principal such as ``User:ann``; those it has already do no harm.

    Raises `AccessError` if we may not, or the cluster has no authorizer.
    """
    bindings = [_binding(principal, right) for right in wanted]
    for future in admin.create_acls(bindings, request_timeout=_TIMEOUT).values():
        try:
            future.result(_TIMEOUT)
        except KafkaException as error:
            raise _refused(error.args[0]) from None


def _refused(error: KafkaError) -> StreamAppError:
    if error.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
        return AccessError(
            "Kafka does not let us grant rights: ALTER on the cluster is missing",
            "Ask the cluster's administrator",
        )
    if error.code() == KafkaError.SECURITY_DISABLED:
        return AccessError(
            "This cluster has no access rights to grant", "Set authorizer.class.name on its brokers"
        )
    return kafka_error(error, "grant rights")


def _rights(pipeline: str, role: AclRole) -> Iterator[AclRule]:
    for kind in KINDS:
        yield from _of_topic(kind, topic_name(pipeline, kind), role)
    if role in _WORKERS:
        group = f"{pipeline}-{_WORKERS[role]}"
        yield AclRule("read", "group", group)
        yield AclRule("write", "transactional_id", f"{group}-", prefixed=True)
    elif role is AclRole.REPLAYER:
        yield AclRule("write", "transactional_id", f"{pipeline}-replay", prefixed=True)
        yield AclRule(
            "describe", "group", f"{pipeline}-{_WORKERS[AclRole.SCORER]}"
        )  # how far scorers have come
    elif role is AclRole.MODELLER:
        yield AclRule("write", "transactional_id", f"{pipeline}-aliases")
        yield AclRule(
            "describe", "group", f"{pipeline}-{_WORKERS[AclRole.LEARNER]}"
        )  # how far the learner has come
    elif role is AclRole.OBSERVER:
        for worker in _WORKERS.values():
            yield AclRule("describe", "group", f"{pipeline}-{worker}")


def _of_topic(kind: TopicKind, name: str, role: AclRole) -> Iterator[AclRule]:
    use, user = USES[kind], _WORKERS.get(role) or _OTHERS.get(role)
    if user in use.readers:
        yield AclRule("read", "topic", name)
    if user in use.writers:
        yield AclRule("write", "topic", name)
    if role in _WORKERS or role is AclRole.OBSERVER:
        yield AclRule(
            "describe", "topic", name
        )  # they look whether all topics are as they should be
    if role is AclRole.OBSERVER and kind not in _UNSEEN:
        yield AclRule("read", "topic", name)
    if role is AclRole.OPERATOR:
        yield from (AclRule("create", "topic", name), AclRule("describe", "topic", name))
        yield AclRule("describe_configs", "topic", name)


def _implies(right: AclRule) -> bool:
    return right.operation in ("read", "write")


def _binding(principal: str, right: AclRule) -> AclBinding:
    return AclBinding(
        ResourceType[right.resource.upper()],
        right.name,
        ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
        principal,
        "*",
        AclOperation[right.operation.upper()],
        AclPermissionType.ALLOW,
    )
