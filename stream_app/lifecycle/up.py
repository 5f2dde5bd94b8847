"""Starts and supervises a whole pipeline on one machine: broker, topics and workers."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from stream_app.broker import EmbeddedBroker
from stream_app.broker.embedded import use_broker
from stream_app.errors import FencedError
from stream_app.interruption import InterruptHandler
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import create_topics
from stream_app.loading import load_pipeline
from stream_app.pipeline import ingested_topics
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.worker.run_folder import make_run_folder
from stream_app.worker.supervisor import POLL_SECONDS, Supervisor

log = get_logger(__name__)


def run_up(pipeline: str, settings: Settings, *, scorers: int, monitor: bool) -> None:
    """Run a pipeline until SIGINT, SIGTERM, or the permanent failure of a worker.

    Starts the embedded broker unless a cluster is configured, and creates missing topics.

    Args:
        pipeline: pipeline as on the command line.
        scorers: number of scorers.
        monitor: True to start the monitor.
    """
    # Until there are workers, a signal just interrupts.
    _on_stop(InterruptHandler())
    loaded = load_pipeline(pipeline)
    name = loaded.name
    with exclusive_use(settings, name), running_cluster(settings) as broker:
        if loaded.format == "avro":
            # Imported here because it takes half a second.
            from stream_app.schema_registry.subjects import register_schemas

            register_schemas(loaded, settings)
        ingest = bool(ingested_topics(loaded))
        create_topics(make_admin(settings), name, settings, ingest)
        workers = Supervisor(pipeline, name, settings, scorers, monitor, ingest=ingest)
        _supervise(workers, broker)


@contextmanager
def running_cluster(settings: Settings) -> Iterator[EmbeddedBroker | None]:
    """Yield the embedded broker, or None if a cluster is configured.

    The last process that uses the broker stops it.
    """
    if settings.kafka.bootstrap_servers:
        yield None
        return
    broker = embedded_broker(settings)
    with use_broker(broker):
        yield broker


def embedded_broker(settings: Settings) -> EmbeddedBroker:
    """Return the broker that the settings describe."""
    return EmbeddedBroker(
        settings.data_dir / "kafka",
        port=settings.broker.port,
        cache_dir=settings.cache_dir,
        repository=settings.broker.repository,
        heap=settings.broker.heap,
    )


@contextmanager
def exclusive_use(settings: Settings, name: str) -> Iterator[None]:
    """Hold the lock of `up` and `reset` on the pipeline with this name.

    Raises:
        FencedError: another process on this machine holds it.
    """
    try:
        lock = FileLock(make_run_folder(settings, name) / "up.lock").acquire(timeout=0)
    except Timeout:
        raise FencedError(
            f"`stream-app up` or `reset` of {name} already runs here",
            "Stop that one first, with Ctrl-C",
        ) from None
    with lock:
        yield


def _supervise(supervisor: Supervisor, broker: EmbeddedBroker | None) -> None:
    """Supervise the workers and the embedded broker until a signal.

    Raises:
        StreamAppError: the permanent error of a worker.
    """
    signals: list[int] = []

    def stop(number: int, _: object) -> None:
        signals.append(number)

    _on_stop(stop)
    ready = False
    try:
        supervisor.start()
        while not signals and supervisor.failed is None:
            supervisor.supervise()
            if not ready and supervisor.is_ready():
                ready = True
                log.info("all workers are ready", see=f"stream-app status {supervisor.pipeline}")
            if broker is not None and not broker.status().running:
                log.warning("the broker died, restarting it")
                _on_stop(InterruptHandler())
                broker.start()
                _on_stop(stop)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        log.info("stopped while the broker was starting")
    finally:
        supervisor.stop()
    if supervisor.failed is not None:
        raise supervisor.failed


def _on_stop(handler: Callable[[int, Any], Any]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
