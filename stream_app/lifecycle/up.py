"""A whole pipeline on one machine: its cluster, its topics, its workers."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from stream_app.broker import EmbeddedBroker
from stream_app.broker.shared import in_use
from stream_app.errors import FencedError
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import create_topics
from stream_app.loading import load_pipeline
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.worker.run_folder import make_run_folder
from stream_app.worker.supervisor import POLL_SECONDS, Supervisor

log = get_logger(__name__)


def run_up(pipeline: str, settings: Settings, *, scorers: int, monitor: bool) -> None:
    """Broker if none is configured, topics, workers; until SIGINT or SIGTERM, or until a worker cannot go on."""
    _on_stop(signal.default_int_handler)  # until there are workers, it just interrupts
    loaded = load_pipeline(pipeline)
    name = loaded.name
    with alone(settings, name), running_cluster(settings) as broker:
        if loaded.format == "avro":
            from stream_app.schema_registry.subjects import (
                register_schemas,  # half a second of imports
            )

            register_schemas(loaded, settings)
        create_topics(make_admin(settings), name, settings)
        _supervise(Supervisor(pipeline, name, settings, scorers, monitor), broker)


@contextmanager
def running_cluster(settings: Settings) -> Iterator[EmbeddedBroker | None]:
    """The configured cluster (None), or the embedded broker, which the last one to use it stops."""
    if settings.kafka.bootstrap_servers:
        yield None
        return
    broker = embedded_broker(settings)
    with in_use(broker):
        yield broker


def embedded_broker(settings: Settings) -> EmbeddedBroker:
    """The broker that the settings describe."""
    return EmbeddedBroker(
        settings.data_dir / "kafka",
        port=settings.broker.port,
        cache_dir=settings.cache_dir,
        repository=settings.broker.repository,
        heap=settings.broker.heap,
    )


@contextmanager
def alone(settings: Settings, name: str) -> Iterator[None]:
    """Hold the lock that only one `up` or `reset` of the pipeline so named can have on this machine."""
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
    """Keep the workers going, and the embedded broker; raises the error of a worker that cannot go on."""
    asked: list[int] = []

    def stop(number: int, _: object) -> None:
        asked.append(number)

    _on_stop(stop)
    ready = False
    try:
        supervisor.start()
        while not asked and supervisor.failed is None:
            supervisor.tend()
            if not ready and supervisor.is_ready():
                ready = True
                log.info("all workers are ready", see=f"stream-app status {supervisor.pipeline}")
            if broker is not None and not broker.status().running:
                log.warning("broker died, starting it again")
                _on_stop(signal.default_int_handler)
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
