"""ACLs that each role needs on the cluster, derived from the uses of the topics."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
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
from stream_app.kafka.topic_uses import (
    PAUSE_KINDS,
    SOURCE_ROLES,
    USES,
    group_name,
    member_name,
)
from stream_app.pipeline import Pipeline, direct_source, ingested_topics
from stream_app.topic_kinds import KINDS, SOURCE_KINDS, TopicKind, topic_name

_TIMEOUT = 30.0  # seconds


class AclRole(StrEnum):
    """Role of a user of the cluster; one user may have several."""

    PRODUCER = "producer"
    SCORER = "scorer"
    LEARNER = "learner"
    MONITOR = "monitor"
    INGESTER = "ingester"
    CONSUMER = "consumer"
    REPLAYER = "replayer"
    MODEL_ADMIN = "model-admin"
    ALARM_ADMIN = "alarm-admin"
    OPERATOR = "operator"
    OBSERVER = "observer"


ROLE_DESCRIPTIONS = {
    AclRole.PRODUCER: "sends events and labels",
    AclRole.SCORER: "a worker with --role score",
    AclRole.LEARNER: "a worker with --role learn",
    AclRole.MONITOR: "a worker with --role monitor",
    AclRole.INGESTER: "a worker with --role ingest, of a pipeline with sources",
    AclRole.CONSUMER: "reads what the pipeline writes",
    AclRole.REPLAYER: "replays, parks and drops dead letters",
    AclRole.MODEL_ADMIN: "trains, rolls back, promotes, pins, deletes versions; controls learning",
    AclRole.ALARM_ADMIN: "acknowledges and silences alarms",
    AclRole.OPERATOR: "creates and shows the topics",
    AclRole.OBSERVER: "reads the status",
}

_WORKER_ROLES = {
    AclRole.SCORER: "score",
    AclRole.LEARNER: "learn",
    AclRole.MONITOR: "monitor",
    AclRole.INGESTER: "ingest",
}
# Names of other users in `TopicUse.readers` and `TopicUse.writers`.
_OTHER_USERS = {
    AclRole.PRODUCER: "producers",
    AclRole.CONSUMER: "consumers",
    AclRole.REPLAYER: "replayer",
    AclRole.MODEL_ADMIN: "model-admin",
    AclRole.ALARM_ADMIN: "alarm-admin",
}
# Users of a topic that is read directly: those that read `<p>.raw`.
_DIRECT_READERS = frozenset(
    {AclRole.SCORER, AclRole.REPLAYER, AclRole.MODEL_ADMIN, AclRole.OBSERVER}
)
_NOT_IN_STATUS = {"learn.state", "monitor.state"}


class AclRule(NamedTuple):
    """Permission for one operation on one resource.

    Attributes:
        name: name of the resource, or a prefix of names if `prefixed`.
    """

    operation: Literal["read", "write", "describe", "describe_configs", "create"]
    resource: Literal["topic", "group", "transactional_id"]
    name: str
    prefixed: bool = False


def pipeline_acls(pipeline: Pipeline, *roles: AclRole) -> list[AclRule]:
    """Return `required_acls` of a pipeline, with the rights on the topics of its sources."""
    direct, alarms = direct_source(pipeline), pipeline.alarms
    found = required_acls(
        pipeline.name,
        *roles,
        sources=ingested_topics(pipeline),
        pauses=alarms is not None and alarms.action == "pause",
    )
    if direct is not None:
        readers = _DIRECT_READERS.intersection(roles)
        if readers:
            found.append(AclRule("read", "topic", direct.topic))
        elif AclRole.OPERATOR in roles:
            found.append(AclRule("describe", "topic", direct.topic))
    return sorted(found, key=_order)


def required_acls(
    pipeline: str, *roles: AclRole, sources: Sequence[str] = (), pauses: bool = False
) -> list[AclRule]:
    """Return the minimal rules for a user with these roles, sorted by resource.

    Reading and writing imply describing, so that is not listed again.

    Args:
        sources: topics of the sources that `ingest` reads.
        pauses: True if the monitor pauses learning from a source that an alarm is about. Then
            producers may not write labels: a header of theirs could name another source.
    """
    found = set[AclRule]()
    for role in roles:
        rules = set(_rules(pipeline, role, sources))
        if pauses and role is AclRole.PRODUCER:
            rules.discard(AclRule("write", "topic", topic_name(pipeline, "labels")))
        elif pauses and role is AclRole.MONITOR:
            rules |= {AclRule("write", "topic", topic_name(pipeline, kind)) for kind in PAUSE_KINDS}
        found |= rules
    implied = {
        AclRule("describe", rule.resource, rule.name, rule.prefixed)
        for rule in found
        if rule.operation in ("read", "write")
    }
    return sorted(found - implied, key=_order)


def _order(rule: AclRule) -> tuple[bool, str, AclRule]:
    return rule.resource != "topic", rule.resource, rule


def grant_acls(admin: AdminClient, principal: str, rules: Iterable[AclRule]) -> None:
    """Grant rules to a user. Idempotent.

    Args:
        principal: user in Kafka's notation, such as ``User:ann``.

    Raises:
        AccessError: this client may not grant ACLs, or the cluster has no authorizer.
        KafkaUnavailableError: the cluster does not answer.
    """
    bindings = [_binding(principal, rule) for rule in rules]
    if not bindings:
        return
    for future in admin.create_acls(bindings, request_timeout=_TIMEOUT).values():
        try:
            future.result(_TIMEOUT)
        except KafkaException as error:
            raise _grant_error(error.args[0]) from None


def _grant_error(error: KafkaError) -> StreamAppError:
    if error.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
        return AccessError(
            "Kafka does not allow this user to grant ACLs: ALTER on the cluster is missing",
            "Ask the cluster's administrator",
        )
    if error.code() == KafkaError.SECURITY_DISABLED:
        return AccessError("This cluster has no ACLs", "Set authorizer.class.name on its brokers")
    return kafka_error(error, "grant ACLs")


def _rules(pipeline: str, role: AclRole, sources: Sequence[str]) -> Iterator[AclRule]:
    if role is AclRole.INGESTER and not sources:
        return
    for kind in KINDS:
        if sources or kind not in SOURCE_KINDS:
            yield from _topic_rules(kind, topic_name(pipeline, kind), role)
    if role in (AclRole.INGESTER, AclRole.MODEL_ADMIN):
        yield from (AclRule("read", "topic", name) for name in sources)
    # For the status of `ingest`, and for `doctor`.
    if role in (AclRole.OBSERVER, AclRole.OPERATOR):
        yield from (AclRule("describe", "topic", name) for name in sources)
    if role in _WORKER_ROLES:
        worker = _WORKER_ROLES[role]
        yield AclRule("read", "group", group_name(pipeline, worker))
        yield AclRule("write", "transactional_id", member_name(pipeline, worker, ""), prefixed=True)
    elif role is AclRole.REPLAYER:
        yield AclRule("write", "transactional_id", member_name(pipeline, role, ""), prefixed=True)
        # Progress of the workers that read replayed records.
        for worker in ("score", "ingest") if sources else ("score",):
            yield AclRule("describe", "group", group_name(pipeline, worker))
    elif role is AclRole.MODEL_ADMIN:
        yield AclRule("write", "transactional_id", member_name(pipeline, role, ""), prefixed=True)
        # Progress of the learner.
        yield AclRule("describe", "group", group_name(pipeline, "learn"))
    elif role is AclRole.ALARM_ADMIN:
        yield AclRule("write", "transactional_id", member_name(pipeline, role, ""), prefixed=True)
    elif role is AclRole.OBSERVER:
        for worker in _WORKER_ROLES.values():
            if sources or worker not in SOURCE_ROLES:
                yield AclRule("describe", "group", group_name(pipeline, worker))


def _topic_rules(kind: TopicKind, name: str, role: AclRole) -> Iterator[AclRule]:
    use, user = USES[kind], _WORKER_ROLES.get(role) or _OTHER_USERS.get(role)
    if user in use.readers:
        yield AclRule("read", "topic", name)
    if user in use.writers and not (role is AclRole.MONITOR and kind in PAUSE_KINDS):
        yield AclRule("write", "topic", name)
    # Workers and observers verify all topics.
    if role in _WORKER_ROLES or role is AclRole.OBSERVER:
        yield AclRule("describe", "topic", name)
    if role is AclRole.OBSERVER and kind not in _NOT_IN_STATUS:
        yield AclRule("read", "topic", name)
    if role is AclRole.OPERATOR:
        yield from (AclRule("create", "topic", name), AclRule("describe", "topic", name))
        yield AclRule("describe_configs", "topic", name)


def _binding(principal: str, rule: AclRule) -> AclBinding:
    return AclBinding(
        ResourceType[rule.resource.upper()],
        rule.name,
        ResourcePatternType.PREFIXED if rule.prefixed else ResourcePatternType.LITERAL,
        principal,
        "*",
        AclOperation[rule.operation.upper()],
        AclPermissionType.ALLOW,
    )
