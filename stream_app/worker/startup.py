"""A worker that starts while Kafka is away waits for it, instead of ending again and again."""

import os
import signal
from time import monotonic, sleep

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.client_closing import close_aside
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topic_uses import USES
from stream_app.kafka.topics import MissingTopicsError, check_topics
from stream_app.settings import Settings
from stream_app.worker.outages import Blocker, OutageTracker

FIRST_SECONDS = 2.0  # for Kafka to answer, before a word about it is said
ASK_SECONDS = 6.0  # from then on
LOOK_SECONDS = 1.0
GROUP_SECONDS = 10.0


def await_cluster(pipeline: str, role: str, settings: Settings, pauses: OutageTracker) -> None:
    """Block until Kafka answers and has what a worker of this role needs; SIGTERM ends the process meanwhile.

    Raises `AccessError` if the cluster refuses us, `TopicsError` if the topics were never as they have to be.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    since = monotonic()
    try:
        timeout = FIRST_SECONDS
        while trouble := _trouble(pipeline, role, settings, timeout, since):
            pauses.observe(trouble)
            timeout = ASK_SECONDS
            sleep(LOOK_SECONDS)
        pauses.end()
    finally:
        signal.signal(signal.SIGTERM, before)


def _trouble(
    pipeline: str, role: str, settings: Settings, timeout: float, since: float
) -> Blocker | None:
    held: list[AdminClient] = []
    try:
        held.append(make_admin(settings, timeout))
        missing = _missing(held[0], pipeline, role, settings)
    except KafkaUnavailableError as error:
        return Blocker.of(error, since)
    finally:
        close_aside(held.clear)
    return None if missing is None else Blocker.of(missing, since)


def _missing(
    admin: AdminClient, pipeline: str, role: str, settings: Settings
) -> MissingTopicsError | None:
    """What this role needs and is not there, but once was."""
    try:
        check_topics(admin, pipeline, settings)
    except MissingTopicsError as missing:
        used = [kind for kind in missing.kinds if role in USES[kind].writers + USES[kind].readers]
        vital = any(role in USES[kind].readers for kind in used)
        if vital or not _has_run(admin, f"{pipeline}-{role}"):
            raise
        return missing if used else None
    return None


def _has_run(admin: AdminClient, group: str) -> bool:
    """Whether a group has committed anything."""
    try:
        (answer,) = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)]
        ).values()
        return any(
            place.offset >= 0 for place in answer.result(GROUP_SECONDS).topic_partitions or ()
        )
    except KafkaException:
        return False
