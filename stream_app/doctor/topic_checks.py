"""The pipeline's topics: whether they are there, alike, and set up as `stream-app topics create` would."""

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka.admin import ConfigResource, ResourceType

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped, warning
from stream_app.errors import AccessError
from stream_app.kafka.topics import TopicSpec, check_topics
from stream_app.status.cluster_view import ask


def check_shape(it: DoctorContext) -> Iterator[CheckResult]:
    """Every topic exists, and partitions that belong together have the same number."""
    partitions = check_topics(it.admin, it.pipeline.name, it.settings)
    yield ok(f"all {len(it.specs)} topics exist; partitions: {partitions}")
    wanted = it.settings.topics.partitions
    if partitions != wanted:
        yield warning(
            f"the topics have {partitions} partitions, and this machine's settings say {wanted}",
            f"Set STREAM_APP_TOPICS__PARTITIONS={partitions} here; `up` and `topics create` refuse to go on otherwise",
        )


def check_settings(it: DoctorContext) -> Iterator[CheckResult]:
    """Each topic's own settings against those that it needs."""
    existing = [spec for spec in it.specs if spec.name in it.metadata.topics]
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in existing]
    try:
        answers: Any = ask(
            it.admin, "read the topics' settings", lambda: it.admin.describe_configs(resources)
        )
    except AccessError as error:
        yield skipped(f"the topics' settings: {error.message}")
        return
    configs = {
        resource.name: {name: entry.value for name, entry in answer.items()}
        for resource, answer in answers.items()
    }
    wrong = [finding for spec in existing for finding in judge_topic(spec, configs[spec.name])]
    wrong += [
        finding for spec in existing for finding in _replication(it, spec.name, configs[spec.name])
    ]
    yield from wrong or [
        ok("retention, cleaning, sizes, times and replication of the topics are as they must be")
    ]


def judge_topic(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[CheckResult]:
    """What of a topic's settings differs from what it needs."""
    wanted = spec.config
    if config["cleanup.policy"] != wanted["cleanup.policy"]:
        yield problem(
            f"{spec.name} has cleanup.policy={config['cleanup.policy']}: {_loss(wanted['cleanup.policy'])}",
            _mend(spec, "cleanup.policy"),
        )
    if int(config["max.message.bytes"]) < int(wanted["max.message.bytes"]):
        yield problem(
            f"{spec.name} has max.message.bytes={config['max.message.bytes']}, less than workers may write",
            _mend(spec, "max.message.bytes"),
        )
    if config["message.timestamp.type"] != wanted["message.timestamp.type"]:
        yield warning(
            f"{spec.name} has message.timestamp.type={config['message.timestamp.type']}, so ages are not those of "
            "the records",
            _mend(spec, "message.timestamp.type"),
        )
    if "retention.ms" in wanted:
        yield from _retention(spec, config)


def _retention(spec: TopicSpec, config: Mapping[str, str]) -> Iterator[CheckResult]:
    actual, wanted = int(config["retention.ms"]), int(spec.config["retention.ms"])
    shorter = actual >= 0 and (wanted < 0 or actual < wanted)
    if shorter and spec.kind == "examples":
        yield problem(
            f"{spec.name} has retention.ms={actual}: models cannot be made again from examples that are gone",
            _mend(spec, "retention.ms"),
        )
    elif actual != wanted:
        yield warning(
            f"{spec.name} has retention.ms={actual}, and this machine's settings say {wanted}",
            _mend(spec, "retention.ms")
            + ", or set STREAM_APP_TOPICS__RETENTION_HOURS to what is meant",
        )
    if int(config.get("retention.bytes") or -1) >= 0:
        yield warning(
            f"{spec.name} has retention.bytes={config['retention.bytes']}: a burst may delete what nobody has read",
            f"Set retention.bytes=-1 on {spec.name}",
        )


def _loss(policy: str) -> str:
    if policy == "compact":
        return "what workers need to go on is deleted when it is old"
    return "records with the same key are deleted, read or not"


def _mend(spec: TopicSpec, name: str) -> str:
    return f"kafka-configs.sh --alter --topic {spec.name} --add-config {name}={spec.config[name]}"


def _replication(it: DoctorContext, name: str, config: Mapping[str, str]) -> Iterator[CheckResult]:
    partitions = it.metadata.topics[name].partitions.values()
    return judge_replication(
        name,
        brokers=len(it.metadata.brokers),
        copies=min(len(partition.replicas) for partition in partitions),
        in_sync=min(len(partition.isrs) for partition in partitions),
        needed=int(config.get("min.insync.replicas") or 1),
        leaderless=sum(partition.leader < 0 for partition in partitions),
    )


def judge_replication(
    name: str, *, brokers: int, copies: int, in_sync: int, needed: int, leaderless: int
) -> Iterator[CheckResult]:
    """Whether a topic survives the loss of a broker, and goes on meanwhile."""
    if leaderless:
        yield problem(
            f"{name} has {leaderless} partitions without a leader",
            "Bring the brokers that hold them back",
        )
    if needed > copies:
        yield problem(
            f"{name} has min.insync.replicas={needed} and {copies} copies: nothing can be written to it",
            f"Set min.insync.replicas={max(1, copies - 1)} on it, or add copies",
        )
    elif in_sync < needed:
        yield problem(
            f"{name} has {in_sync} copies in sync and needs {needed}",
            "Bring the missing brokers back",
        )
    elif in_sync < copies:
        yield warning(
            f"{name} has {in_sync} of {copies} copies in sync",
            "See what is wrong with the other brokers",
        )
    if brokers < 2:
        return
    if copies == 1:
        yield warning(
            f"{name} has one copy: the loss of a broker loses records", "Reassign it with 3 copies"
        )
    elif copies == needed:
        yield warning(
            f"{name} stops when one broker does: all {copies} copies are needed",
            "Lower min.insync.replicas",
        )
    elif needed == 1:
        yield warning(
            f"{name} has min.insync.replicas=1: what was acknowledged may be lost with a broker",
            "Set min.insync.replicas=2 on it",
        )
