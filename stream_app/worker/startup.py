"""Entry point of a worker process: tunes the interpreter, waits for Kafka, and runs the worker."""

import ctypes
import gc
import os
import re
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer
from time import monotonic

from confluent_kafka.admin import AdminClient
from filelock import FileLock, Timeout

from stream_app.errors import (
    FencedError,
    KafkaUnavailableError,
    SettingsError,
    StoreError,
    StreamAppError,
    TopicsError,
)
from stream_app.kafka.clients import ClientOwner, make_admin
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.kafka.source_topics import DirectTopic, describe_sources
from stream_app.kafka.topic_uses import ROLE_INPUTS, SOURCE_ROLES, USES, group_name
from stream_app.kafka.topics import MissingTopicsError, check_topics
from stream_app.loading import load_pipeline
from stream_app.pipeline import Pipeline, ingested_topics
from stream_app.retrying import NEVER, wait_until
from stream_app.settings import Settings, service_links_warning
from stream_app.telemetry.logs import get_logger, setup_logging
from stream_app.telemetry.metrics import SOURCES, WORKER, labelled_registry
from stream_app.topic_kinds import topic_name
from stream_app.worker.health import HealthServer
from stream_app.worker.outages import Blocker, OutageTracker
from stream_app.worker.quarantine.journal import worker_file
from stream_app.worker.quarantine.quarantine import Quarantine
from stream_app.worker.roles.role_table import ROLES
from stream_app.worker.run_folder import make_run_folder, write_failed, writes_error
from stream_app.worker.worker import Worker

log = get_logger(__name__)

AUTO_INSTANCE = "auto"
ANNOUNCE_SECONDS = 10.0
# Time for Kafka to respond to the first request, which is not logged, and to the next ones.
FIRST_REQUEST_SECONDS = 2.0
REQUEST_SECONDS = 6.0
POLL_SECONDS = 1.0
# Longest time that a thread back from a call of librdkafka waits for one that computes.
SWITCH_SECONDS = 0.001
# glibc's M_ARENA_MAX and M_TRIM_THRESHOLD.
_ARENA_MAX, _ARENAS = -8, 2
_TRIM_THRESHOLD, _KEPT_BYTES = -1, 1 << 18


def run_worker(spec: str, role: str, instance: str, settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT; ends the process if the worker cannot continue.

    Args:
        spec: pipeline as on the command line.
        instance: name of the worker within its role, or `auto`.

    Raises:
        StreamAppError: pipeline, topics or cluster are not usable, or the instance runs already.
    """
    return_free_memory()
    instance = instance_name(instance)
    setup_logging(settings.log, role=role, instance=instance)
    warning = service_links_warning()
    if warning is not None:
        log.warning(warning)
    if role in ("learn", "monitor") and instance != "0":
        raise SettingsError(f"A pipeline has one {role} worker", "Leave --instance at 0")
    pipeline = load_pipeline(spec)
    folder = make_run_folder(settings, pipeline.name)
    base = folder / f"{role}-{instance}"
    lock = FileLock(worker_file(base, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FencedError(
            f"instance {instance} of {pipeline.name} {role} is already running here",
            "Give it another --instance",
        ) from None
    except OSError as error:
        raise write_failed(folder, error) from None
    SOURCES.set(len(ingested_topics(pipeline)))
    WORKER.info({"pipeline": pipeline.name, "role": role, "member": instance})
    with lock, writes_error(worker_file(base, "error")):
        seconds = settings.worker.quarantine_seconds
        quarantine = Quarantine(spec, base, pipeline.limits, seconds)
        outages = OutageTracker()
        worker: Worker | None = None
        has_work = role not in SOURCE_ROLES or bool(ingested_topics(pipeline))

        def reasons() -> list[str]:
            if not has_work:
                return []
            if worker is not None:
                return worker.blockers()
            return outages.blockers() or ["not yet connected to Kafka"]

        with HealthServer(
            settings.worker.health_host,
            settings.worker.health_port,
            reasons=reasons,
            details=lambda: worker.details() if worker else {},
            info={"pipeline": pipeline.name, "role": role, "instance": instance},
            registry=labelled_registry({"pipeline": pipeline.name}),
        ) as health:
            _announce(health, base)
            if not has_work:
                await_stop(pipeline.name, role)
                return
            await_cluster(pipeline, role, settings, outages)
            worker = Worker(pipeline, ROLES[role], instance, settings, base, quarantine, outages)
            tune_interpreter()
            worker.run()


def await_stop(pipeline: str, role: str) -> None:
    """Wait for SIGTERM or SIGINT without any work.

    A worker that ended instead would be started again by every service manager.
    """
    log.warning(
        f"{pipeline} declares no sources that ingest reads, so this worker has nothing to do until "
        "it is stopped",
        action=f"Declare Pipeline(sources=...), or start no worker of the role {role}",
    )
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    while not stopped.wait(POLL_SECONDS):
        pass
    log.info("stopped")


def instance_name(given: str) -> str:
    """Return the name of a worker within its role; `auto` is the host name, in a container its id.

    Raises:
        SettingsError: Kafka does not accept the name in a `group.instance.id`.
    """
    instance = socket.gethostname() if given == AUTO_INSTANCE else given
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", instance):
        raise SettingsError(
            f"{instance!r} cannot be an instance id",
            "Give --instance up to 100 letters, digits, dots, hyphens and underscores",
        )
    return instance


def _announce(health: HealthServer, base: Path, again: bool = False) -> None:
    """Write the address of the health server; on a full disk, retry while the worker runs."""
    try:
        health.announce(worker_file(base, "json"))
    except StoreError as error:
        if not again:
            log.error("`status` and `up` cannot find this worker", why=str(error))
        timer = Timer(ANNOUNCE_SECONDS, _announce, (health, base, True))
        timer.daemon = True
        timer.start()


# --- Waiting for Kafka ----------------------------------------------------------------------------


def await_cluster(
    pipeline: Pipeline, role: str, settings: Settings, outages: OutageTracker
) -> None:
    """Wait until Kafka responds and has the topics that a role needs; SIGTERM ends the process.

    Raises:
        AccessError: the cluster rejects this client.
        TopicsError: topics are missing that never existed, or are not configured as required.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    since = monotonic()
    timeout = FIRST_REQUEST_SECONDS

    def is_usable() -> bool:
        nonlocal timeout
        blocker = _find_blocker(pipeline, role, settings, timeout, since)
        timeout = REQUEST_SECONDS
        if blocker is not None:
            outages.update(blocker)
        return blocker is None

    try:
        wait_until(NEVER, is_usable, POLL_SECONDS)
        outages.end()
    finally:
        signal.signal(signal.SIGTERM, before)


def _find_blocker(
    pipeline: Pipeline, role: str, settings: Settings, timeout: float, since: float
) -> Blocker | None:
    owner: ClientOwner[AdminClient] | None = None
    try:
        owner = ClientOwner(make_admin(settings, timeout))
        missing = _missing_topics(owner.client, pipeline, role, settings)
    except KafkaUnavailableError as error:
        return Blocker.of(error, since)
    finally:
        if owner is not None:
            owner.close_in_background()
    return None if missing is None else Blocker.of(missing, since)


def _missing_topics(
    admin: AdminClient, pipeline: Pipeline, role: str, settings: Settings
) -> TopicsError | None:
    """Return the error of topics that the role writes and that existed before, or of sources.

    A worker of `ingest` waits for sources only if none of them can be read.

    Raises:
        TopicsError: the topic that scorers read directly has another number of partitions.
    """
    has_sources = role in SOURCE_ROLES
    try:
        check_topics(admin, pipeline.name, settings, with_sources=has_sources)
    except MissingTopicsError as missing:
        used = [kind for kind in missing.kinds if role in USES[kind].writers + USES[kind].readers]
        vital = any(role in USES[kind].readers for kind in used)
        if vital or not _has_run(pipeline.name, role, settings):
            raise
        return missing if used else None
    if has_sources:
        found = describe_sources(admin, ingested_topics(pipeline))
        return found.error if not found.ids else None
    direct = DirectTopic.of(pipeline) if role == "score" else None
    if direct is None:
        return None
    found = describe_sources(admin, direct)
    direct.check(found)
    return found.error


def _has_run(pipeline: str, role: str, settings: Settings) -> bool:
    """Return True if a role has committed an offset of one of its inputs."""
    inputs = [
        (topic_name(pipeline, kind), partition)
        for kind in ROLE_INPUTS[role]
        for partition in range(settings.topics.partitions)
    ]
    reader = PartitionReader.open(settings, group_name(pipeline, role))
    try:
        return bool(reader.committed(inputs))
    except StreamAppError:
        return False
    finally:
        reader.close_in_background()


# --- Tuning of the interpreter --------------------------------------------------------------------


def return_free_memory() -> None:
    """Let glibc return free memory to the system; other C libraries have no such settings.

    By default each thread keeps a heap of its own, three for each producer alone, and a heap keeps
    up to 64 MB after a burst. Called before threads start.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, _ARENAS)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def tune_interpreter() -> None:
    """Exclude loaded modules from garbage collection, and switch threads more often.

    Batches are freed without a search for cycles, which saves a tenth of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    sys.setswitchinterval(SWITCH_SECONDS)
