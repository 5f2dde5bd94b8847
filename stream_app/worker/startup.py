"""A worker that starts while Kafka is away waits for it, instead of ending again and again."""

import ctypes
import gc
import os
import signal
import sys
from contextlib import suppress
from time import monotonic, sleep

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.clients import ClientOwner, make_admin
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
    owner: ClientOwner[AdminClient] | None = None
    try:
        owner = ClientOwner(make_admin(settings, timeout))
        missing = _missing(owner.client, pipeline, role, settings)
    except KafkaUnavailableError as error:
        return Blocker.of(error, since)
    finally:
        if owner is not None:
            owner.close_in_background()
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


SWITCH_SECONDS = 0.001  # that a thread coming back from librdkafka, as a commit does often, waits for one that computes
_ARENA_MAX = -8  # glibc's M_ARENA_MAX
_ARENAS = 2


def bound_arenas() -> None:
    """Let all threads share two heaps, where the C library is glibc; to be called before there are threads.

    By default each of the threads, three for each partition's producer alone, gets one of its own, and keeps it.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)


def spare_the_interpreter() -> None:
    """What is loaded stays, and batches are freed without looking for cycles; threads take turns more often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)  # saves a tenth of CPU
    sys.setswitchinterval(SWITCH_SECONDS)
