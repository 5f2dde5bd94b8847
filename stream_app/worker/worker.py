"""One worker process: a Faust app whose agents hand fetched batches to a transactional task."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from threading import Timer
from typing import Any

import faust
from aiokafka.errors import KafkaConnectionError
from filelock import FileLock, Timeout
from yarl import URL

from stream_app.errors import (
    FencedError,
    KafkaUnavailableError,
    SettingsError,
    StoreError,
    StreamAppError,
)
from stream_app.kafka.client_config import client_config
from stream_app.kafka.clients import ConnectionErrors, make_admin
from stream_app.kafka.log_reader import LogReader
from stream_app.kafka.security import aiokafka_options
from stream_app.kafka.topic_uses import USES
from stream_app.loading import load_pipeline
from stream_app.pipeline import Pipeline
from stream_app.records import ENVELOPE_BYTES, InputPartition
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger, setup_logging
from stream_app.telemetry.metrics import WORKER
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.assignments import AssignmentManager, exit_code
from stream_app.worker.health import HealthServer
from stream_app.worker.outages import OutageTracker
from stream_app.worker.processor import Processor
from stream_app.worker.quarantine.quarantine import Quarantine
from stream_app.worker.roles.reporting import FaultPublisher, TaskReporter
from stream_app.worker.roles.role_table import ROLES, Role, WorkerContext
from stream_app.worker.run_folder import (
    RestartHistory,
    endings_noted,
    make_run_folder,
    no_room,
    note_ending,
)
from stream_app.worker.startup import await_cluster, bound_arenas, spare_the_interpreter
from stream_app.worker.stream_task import StreamTask
from stream_app.worker.subtask import Subtask
from stream_app.worker.transaction_writer import TransactionWriter, instance_name
from stream_app.worker.transport import BatchTransport, NoTables

log = get_logger(__name__)

ANNOUNCE_SECONDS = 10.0  # between two tries
STOP_SECONDS = 1.5  # for Faust, after the task has committed
ACCESS_SECONDS = 0.5  # between two looks at whether the cluster refuses us
NEVER = (
    10.0**6
)  # seconds; a worker without partitions must not leave the group for polling too little


def run_worker(pipeline_spec: str, role: str, instance: str, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; ends the process itself when it cannot go on.

    Raises StreamAppError for what is wrong at the start: pipeline, topics, cluster, instance already running.
    """
    bound_arenas()
    instance = instance_name(instance)
    setup_logging(settings.log, role=role, instance=instance)
    if role in ("learn", "monitor") and instance != "0":
        raise SettingsError(f"A pipeline has one {role} worker", "Leave --instance at 0")
    pipeline = load_pipeline(pipeline_spec)
    folder = make_run_folder(settings, pipeline.name)
    lock = FileLock(folder / f"{role}-{instance}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FencedError(
            f"instance {instance} of {pipeline.name} {role} is already running here",
            "Give it another --instance",
        ) from None
    except OSError as error:
        raise no_room(folder, error) from None
    WORKER.info({"pipeline": pipeline.name, "role": role, "member": instance})
    ending = folder / f"{role}-{instance}.ended"
    with lock, endings_noted(ending):
        isolation = Quarantine(
            pipeline_spec,
            folder / f"{role}-{instance}",
            pipeline.limits,
            settings.worker.quarantine_seconds,
        )
        pauses = OutageTracker()
        worker: Worker | None = None
        with HealthServer(
            settings.worker.health_host,
            settings.worker.health_port,
            reasons=lambda: (
                worker.unready() if worker else pauses.unready() or ["not yet connected to Kafka"]
            ),
            details=lambda: worker.details() if worker else {},
            info={"pipeline": pipeline.name, "role": role, "instance": instance},
        ) as health:
            _announce(health, folder / f"{role}-{instance}.json")
            await_cluster(pipeline.name, role, settings, pauses)
            worker = Worker(pipeline, ROLES[role], instance, settings, ending, isolation, pauses)
            worker.run()


def _announce(health: HealthServer, file: Path, again: bool = False) -> None:
    """Say where this worker answers; when there is no room for it, go on trying, and working."""
    try:
        health.announce(file)
    except StoreError as error:
        if not again:
            log.error("neither `status` nor `up` can find this worker", why=str(error))
        timer = Timer(ANNOUNCE_SECONDS, _announce, (health, file, True))
        timer.daemon = True
        timer.start()


class Worker:
    """One role of one pipeline in this process; `ending` is the file that says how it ended."""

    def __init__(
        self,
        pipeline: Pipeline,
        role: Role,
        instance: str,
        settings: Settings,
        ending: Path,
        isolation: Quarantine,
        pauses: OutageTracker,
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._ending = ending
        self._isolation = isolation
        self._role = role
        self._group = f"{pipeline.name}-{role.name}"
        self._name = f"{role.name}-{instance}"
        self._instance = f"{self._group}-{instance}"
        self._lives = RestartHistory(ending.with_suffix(".life"))
        self._pauses = pauses
        config = client_config(settings)
        self._errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        self._config = {**config, "error_cb": self._errors}
        self._reader = LogReader(self._config, self._group)
        self._setting = WorkerContext(
            pipeline,
            settings,
            self._reader,
            self._config,
            self._group,
            self.fatal,
            isolation,
        )
        session = settings.worker.session_timeout_seconds
        self._owner = AssignmentManager(role.name, self._make_task, self.fatal, pauses, session)
        self._app: faust.App | None = None
        self._joined = False

    def unready(self) -> list[str]:
        """Why this worker does not process records now."""
        waiting = self._setting.blockers()
        return (
            waiting
            or self._owner.unready()
            or ([] if self._joined else ["not yet in the consumer group"])
        )

    def details(self) -> dict[str, Any]:
        """What `/readyz` tells besides: the model version that is served."""
        current = self._setting.follower.current
        return {} if current is None else {"model_version": current.version}

    def fatal(self, error: BaseException) -> None:
        """Say why in one line and end the process; the next owner settles what was open."""
        self._lives.fail(error)
        trace: BaseException | None = error
        if isinstance(error, StreamAppError):
            note_ending(self._ending, error)
            self._isolation.journal.clear()
            trace = None
        log.error("worker ends", why=str(error), code=exit_code(error), exc_info=trace)
        sys.stderr.flush()
        os._exit(exit_code(error))

    def run(self) -> None:
        """Block until told to stop."""
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self._lives.fail(error)
            raise

    async def _run(self) -> None:
        spare_the_interpreter()
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("starting", pipeline=self._pipeline.name, group=self._group)
        ended = self._lives.begin()
        if ended:
            log.warning("started again after a bad end", ended=ended)
        guarding = asyncio.ensure_future(self._watch_access())
        prepared = await self._until(
            stop, loop.run_in_executor(None, self._role.prepare, self._setting)
        )
        if not prepared:
            self._lives.end()
            os._exit(0)  # nothing is owned yet, and the preparing thread may block
        app = self._app = self._make_app()
        work = [
            guarding,
            asyncio.ensure_future(self._owner.watch()),
            asyncio.ensure_future(self._serve(app)),
        ]
        await asyncio.wait(
            {asyncio.ensure_future(stop.wait()), *work}, return_when=asyncio.FIRST_COMPLETED
        )
        if not stop.is_set():
            failures = [one.exception() for one in work if one.done()]
            self.fatal(_explained(next(filter(None, failures), app.crash_reason)))
        for one in work[:2]:
            one.cancel()
        await self._stop(app)

    async def _watch_access(self) -> None:
        """End the process when the cluster refuses us: only a person can help."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(ACCESS_SECONDS)
            try:
                await loop.run_in_executor(None, self._check_access)
                if self._app is not None:
                    self._app.consumer.check()
            except StreamAppError as error:
                self.fatal(error)

    def _check_access(self) -> None:
        """Raise `AccessError` if a client was refused and a new one is as well: a token may just have expired."""
        self._reader.serve()
        if self._errors.rejected:
            self._errors.last = None
            with suppress(KafkaUnavailableError):  # which the task waits for
                make_admin(self._settings)

    async def _until(self, stop: asyncio.Event, work: asyncio.Future[None]) -> bool:
        """Wait for work; False when told to stop meanwhile."""
        stopping = asyncio.ensure_future(stop.wait())
        waiting: set[asyncio.Future[Any]] = {stopping, work}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if work.done():
            work.result()
        return work.done()

    async def _serve(self, app: faust.App) -> None:
        """Start Faust and stay until it stops or crashes by itself."""
        await app.start()
        self._joined = True
        ends = [asyncio.ensure_future(event.wait()) for event in (app._stopped, app._crashed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def _stop(self, app: faust.App) -> None:
        """Commit what was processed, then leave; Faust gets a moment to close its sockets."""
        log.info("stopping")
        if self._joined:
            await self._owner.revoke(app.consumer)
        await asyncio.wait({asyncio.ensure_future(app.stop())}, timeout=STOP_SECONDS)
        self._lives.end()
        log.info("stopped")
        os._exit(0)

    def _make_app(self) -> faust.App:
        servers = [
            URL(f"kafka://{server}") for server in str(self._config["bootstrap.servers"]).split(",")
        ]
        worker = self._settings.worker
        app = faust.App(
            self._group,
            broker=servers,
            store="memory://",
            TableManager=NoTables,
            datadir=self._settings.data_dir
            / "run"
            / self._pipeline.name
            / f"faust-{self._instance}",
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            stream_wait_empty=False,
            stream_buffer_maxsize=4,
            broker_max_poll_records=worker.max_batch_records,
            broker_session_timeout=worker.session_timeout_seconds,
            broker_heartbeat_interval=worker.session_timeout_seconds / 6,
            broker_request_timeout=max(30.0, worker.session_timeout_seconds),
            broker_max_poll_interval=NEVER,
            consumer_max_fetch_size=self._settings.topics.max_message_bytes + ENVELOPE_BYTES,
            consumer_group_instance_id=self._instance,
        )
        security = aiokafka_options(self._settings.kafka)
        app.transport = BatchTransport(
            servers, app, loop=asyncio.get_running_loop(), security=security
        )
        self._declare(app)
        return app

    def _declare(self, app: faust.App) -> None:
        """One agent per input topic; the task follows the assignment."""
        for kind in self._role.inputs:
            name = topic_name(self._pipeline.name, kind)
            topic = app.topic(name, key_serializer="raw", value_serializer="raw", acks=False)
            app.agent(topic, name=name)(self._consume)
        app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    async def _consume(self, stream: Any) -> AsyncIterator[None]:
        async for event in stream.noack().events():
            self._owner.deliver(event.message.tp, event.message.value)
            yield None

    async def _on_assigned(self, app: faust.App, assigned: Any, **_: Any) -> None:
        self._owner.assign(app.consumer, assigned)

    async def _on_revoked(self, app: faust.App, revoked: Any, **_: Any) -> None:
        await self._owner.revoke(app.consumer)

    def _make_task(
        self, inputs: list[InputPartition], membership: Any, flow: Any, failed: Any, careful: bool
    ) -> StreamTask:
        """One for all partitions; it takes over from whoever had any of them."""
        grouped = groupby(sorted(inputs, key=self._role.group_of), self._role.group_of)
        parts = [
            Subtask(number, list(some), self._make_processor(number)) for number, some in grouped
        ]
        writer = self._make_writer(parts[0].number, self._kinds())
        fences = [self._make_writer(part.number) for part in parts[1:]]
        limits = self._settings.worker
        return StreamTask(
            self._role.name,
            parts,
            writer,
            fences,
            self._reader,
            flow,
            membership,
            limits,
            failed,
            careful,
        )

    def _make_writer(self, partition: int, kinds: Iterable[TopicKind] = ()) -> TransactionWriter:
        return TransactionWriter(
            self._writer_config(), f"{self._group}-{partition}", self._name_of, kinds
        )

    def _make_processor(self, partition: int) -> Processor:
        reporter = TaskReporter(self._pipeline.name, self._name, self._setting.encoders.monitoring)
        return FaultPublisher(
            self._role.make(self._setting, partition), self._lives, self._pauses, reporter
        )

    def _kinds(self) -> list[TopicKind]:
        """The topics that this role may write."""
        return [kind for kind, use in USES.items() if self._role.name in use.writers]

    def _name_of(self, kind: TopicKind) -> str:
        """Full name of a topic; one that `USES` does not let this role write is a bug, for rights are made from it."""
        if self._role.name not in USES[kind].writers:
            raise AssertionError(f"{self._role.name} is not declared to write {kind}")
        return topic_name(self._pipeline.name, kind)

    def _writer_config(self) -> dict[str, Any]:
        return {
            **self._config,
            "transaction.timeout.ms": int(self._settings.worker.transaction_timeout_seconds * 1000),
            "message.max.bytes": self._settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
            "batch.size": min(1_000_000, self._settings.topics.max_message_bytes),
        }


def _explained(error: BaseException | None) -> BaseException:
    """Why Faust ended, as one of our errors where that is known."""
    if error is None or isinstance(error, KafkaConnectionError):
        reason = "Faust stopped" if error is None else "the worker's consumer could not connect"
        return KafkaUnavailableError(
            reason, "See the lines above, and check that the brokers are up and reachable"
        )
    return error
