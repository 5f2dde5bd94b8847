"""Worker of one role: a Faust app whose agents pass fetched batches to a transactional task."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaConnectionError
from faust.types.web import HttpClientT
from yarl import URL

from stream_app.errors import KafkaUnavailableError, StreamAppError
from stream_app.kafka.clients import ClientOwner, ConnectionErrors, client_config, make_admin
from stream_app.kafka.partitioner import partitioner_of
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.kafka.security import aiokafka_options
from stream_app.kafka.topic_uses import SOURCE_ROLES, USES, group_name, member_name
from stream_app.kafka.topics import AddedPartitionsError, check_topics
from stream_app.pipeline import Pipeline
from stream_app.records import ENVELOPE_BYTES, InputPartition
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.assignments import AssignmentManager
from stream_app.worker.faust_transport import BatchTransport, NoTables
from stream_app.worker.outages import OutageTracker
from stream_app.worker.processor import Processor
from stream_app.worker.quarantine.claims import ClaimJournal
from stream_app.worker.quarantine.journal import worker_file
from stream_app.worker.quarantine.quarantine import Quarantine
from stream_app.worker.roles.reporting import FaultPublisher, TaskReporter
from stream_app.worker.roles.role_table import Role, WorkerContext
from stream_app.worker.run_folder import RestartHistory, write_error
from stream_app.worker.source_watch import SourceWatch
from stream_app.worker.stream_task import WRITERS, Assignment, StreamTask
from stream_app.worker.subtask import Subtask
from stream_app.worker.transaction_writer import TransactionWriter

log = get_logger(__name__)

# Time for Faust to stop after the task has committed.
STOP_SECONDS = 1.5
# Interval of the check whether the cluster rejects this client.
ACCESS_CHECK_SECONDS = 0.5
# Longest time for which the check for added partitions delays an assignment.
PARTITION_CHECK_SECONDS = 2.0
# A worker without partitions does not poll, and must not leave the group for that.
MAX_POLL_SECONDS = 10.0**6
# Exit code of an unexpected error (EX_SOFTWARE).
UNEXPECTED_EXIT_CODE = 70


class Worker:
    """Worker of one role of one pipeline in this process.

    Args:
        instance: name of the worker within its role.
        base: path of the worker's files in the run folder, without suffix.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        role: Role,
        instance: str,
        settings: Settings,
        base: Path,
        quarantine: Quarantine,
        outages: OutageTracker,
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._error_file = worker_file(base, "error")
        self._quarantine = quarantine
        self._role = role
        self._claims = (
            ClaimJournal(
                quarantine,
                role.topics(pipeline),
                settings.worker.commit_records,
            )
            if role.is_guarded
            else None
        )
        self._group = group_name(pipeline.name, role.name)
        self._name = f"{role.name}-{instance}"
        self._instance = member_name(pipeline.name, role.name, instance)
        self._restarts = RestartHistory(worker_file(base, "restarts"))
        self._outages = outages
        config = client_config(settings)
        self._connection_errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        self._config = {**config, "error_cb": self._connection_errors}
        self._reader = RetryingReader(self._config, self._group)
        self._context = WorkerContext(
            pipeline,
            settings,
            self._reader,
            self._config,
            self._group,
            self.fatal,
            quarantine,
        )
        session = settings.worker.session_timeout_seconds
        self._watch = role.watch(self._context)
        self._assignments = AssignmentManager(
            role.name,
            self._make_task,
            self.fatal,
            outages,
            session,
            self._watch.explains
            if self._watch is not None and role.name in SOURCE_ROLES
            else lambda _: False,
        )
        self._app: faust.App | None = None
        self._joined = False
        # Highest number of an assigned partition so far.
        self._highest_partition = -1

    def blockers(self) -> list[str]:
        """Return the reasons why the worker is not ready, empty if it is. Thread-safe."""
        return (
            self._context.blockers()
            or self._assignments.blockers()
            or (self._watch.blockers() if self._watch is not None else [])
            or ([] if self._joined else ["not yet in the consumer group"])
        )

    def details(self) -> dict[str, Any]:
        """Return further fields of `/readyz`: the served model version."""
        current = self._context.follower.current
        return {} if current is None else {"model_version": current.version}

    def fatal(self, error: BaseException) -> None:
        """Log an error in one line and end the process; the next owner ends its transactions."""
        self._restarts.fail(error)
        code = UNEXPECTED_EXIT_CODE
        trace: BaseException | None = error
        if isinstance(error, StreamAppError):
            write_error(self._error_file, error)
            self._quarantine.journal.clear()
            code, trace = error.exit_code, None
        log.error("worker failed", why=str(error), code=code, exc_info=trace)
        sys.stderr.flush()
        os._exit(code)

    def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self._restarts.fail(error)
            raise

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("starting", pipeline=self._pipeline.name, group=self._group)
        failures = self._restarts.begin()
        if failures:
            log.warning("restarted after failures", failures=failures)
        checking = asyncio.ensure_future(self._check_access_regularly())
        prepared = await self._complete(
            loop.run_in_executor(None, self._role.prepare, self._context), stop
        )
        if not prepared:
            self._restarts.end()
            # No partition is assigned yet, and the preparing thread may block.
            os._exit(0)
        if self._watch is not None:
            await loop.run_in_executor(None, self._check_sources, self._watch)
        app = self._app = self._make_app()
        work = [
            checking,
            asyncio.ensure_future(self._assignments.supervise()),
            asyncio.ensure_future(self._serve(app)),
        ]
        if self._watch is not None:
            work.append(asyncio.ensure_future(self._watch.supervise(self._resubscribe)))
        await asyncio.wait(
            {asyncio.ensure_future(stop.wait()), *work}, return_when=asyncio.FIRST_COMPLETED
        )
        if not stop.is_set():
            errors = [one.exception() for one in work if one.done()]
            self.fatal(_explained(next(filter(None, errors), app.crash_reason)))
        for one in (*work[:2], *work[3:]):
            one.cancel()
        await self._stop(app)

    async def _check_access_regularly(self) -> None:
        """End the process if the cluster rejects it, which only the operator can resolve."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(ACCESS_CHECK_SECONDS)
            try:
                await loop.run_in_executor(None, self._check_access)
                if self._app is not None:
                    self._app.consumer.check()
            except StreamAppError as error:
                self.fatal(error)

    def _check_access(self) -> None:
        """Check that the cluster accepts a new client if it rejected one.

        The token of the rejected client may just have expired.

        Raises:
            AccessError: the new client is rejected as well.
        """
        self._reader.serve()
        if self._connection_errors.rejected:
            self._connection_errors.last = None
            # The task waits for Kafka.
            with suppress(KafkaUnavailableError):
                make_admin(self._settings)

    async def _complete(self, work: asyncio.Future[None], stop: asyncio.Event) -> bool:
        """Wait for work; returns False if the worker is stopped first."""
        stopping = asyncio.ensure_future(stop.wait())
        waiting: set[asyncio.Future[Any]] = {stopping, work}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if work.done():
            work.result()
        return work.done()

    async def _serve(self, app: faust.App) -> None:
        """Start Faust and wait until it stops or crashes by itself."""
        await app.start()
        self._joined = True
        ends = [asyncio.ensure_future(event.wait()) for event in (app._stopped, app._crashed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def _resubscribe(self) -> bool:
        """Read other topics of sources than before; returns False if nothing is read yet."""
        if self._app is None or not self._joined:
            return False
        await self._app.consumer.resubscribe()
        return True

    async def _stop(self, app: faust.App) -> None:
        """Commit processed records, give Faust a moment to close its sockets, and exit."""
        log.info("stopping")
        if self._joined:
            await self._assignments.revoke(app.consumer)
        await asyncio.wait({asyncio.ensure_future(app.stop())}, timeout=STOP_SECONDS)
        self._restarts.end()
        log.info("stopped")
        os._exit(0)

    # --- Faust ------------------------------------------------------------------------------------

    def _make_app(self) -> faust.App:
        servers = [
            URL(f"kafka://{server}") for server in str(self._config["bootstrap.servers"]).split(",")
        ]
        worker = self._settings.worker
        run_folder = self._error_file.parent
        app = faust.App(
            self._group,
            broker=servers,
            store="memory://",
            TableManager=NoTables,
            datadir=run_folder / f"faust-{self._instance}",
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            stream_wait_empty=False,
            stream_buffer_maxsize=4,
            broker_max_poll_records=worker.max_batch_records,
            broker_session_timeout=worker.session_timeout_seconds,
            broker_heartbeat_interval=worker.session_timeout_seconds / 6,
            broker_request_timeout=max(30.0, worker.session_timeout_seconds),
            broker_max_poll_interval=MAX_POLL_SECONDS,
            consumer_max_fetch_size=self._settings.topics.max_message_bytes + ENVELOPE_BYTES,
            consumer_group_instance_id=self._instance,
            # The class itself, because Faust imports one that is named.
            HttpClient=HttpClientT,
        )
        security = aiokafka_options(self._settings.kafka)
        is_ingest = self._role.name in SOURCE_ROLES
        app.transport = BatchTransport(
            servers,
            app,
            loop=asyncio.get_running_loop(),
            security=security,
            # All scorers subscribe to the same topics, or partitions of one number would be
            # assigned to several of them.
            sources=self._role.foreign_topics(self._pipeline) if is_ingest else (),
            unreadable=lambda: (
                self._watch.unreadable if self._watch is not None and is_ingest else frozenset()
            ),
            commit_seconds=worker.commit_interval_ms / 1000,
        )
        self._declare_agents(app)
        return app

    def _declare_agents(self, app: faust.App) -> None:
        """Declare one agent per input topic; the task follows the assignment."""
        for name in self._role.topics(self._pipeline):
            topic = app.topic(name, key_serializer="raw", value_serializer="raw", acks=False)
            app.agent(topic, name=name)(self._consume)
        app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    async def _consume(self, stream: Any) -> AsyncIterator[None]:
        async for event in stream.noack().events():
            self._assignments.deliver(event.message.tp, event.message.value)
            yield None

    async def _on_assigned(self, app: faust.App, assigned: Any, **_: Any) -> None:
        highest = max((partition.partition for partition in assigned), default=-1)
        if highest > self._highest_partition:
            self._highest_partition = highest
            await asyncio.get_running_loop().run_in_executor(None, self._check_partitions)
        if self._watch is not None:
            # A topic may have been recreated, which the processors recognise by its id.
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._check_sources, self._watch)
        self._assignments.assign(app.consumer, assigned)

    async def _on_revoked(self, app: faust.App, revoked: Any, **_: Any) -> None:
        await self._assignments.revoke(app.consumer)

    def _check_sources(self, watch: SourceWatch) -> None:
        """Look at the topics of the sources; end the process if one must not be read at all."""
        watch.check()
        if watch.error is not None:
            self.fatal(watch.error)

    def _check_partitions(self) -> None:
        """End the process if partitions were added to a topic: their state does not exist."""
        # The task meets all other errors.
        with suppress(StreamAppError):
            admin = ClientOwner(make_admin(self._settings, PARTITION_CHECK_SECONDS))
            try:
                check_topics(admin.client, self._pipeline.name, self._settings)
            except AddedPartitionsError as error:
                self.fatal(error)
            finally:
                admin.close_in_background()

    # --- Task -------------------------------------------------------------------------------------

    def _make_task(self, assignment: Assignment) -> StreamTask:
        """Return a task for all assigned partitions, which fences their previous owners."""
        group_of = self._role.group_of
        grouped = groupby(sorted(assignment.inputs, key=group_of), group_of)
        subtasks = [
            Subtask(number, inputs, self._make_processor(inputs), self._claims)
            for number, inputs in [(number, list(group)) for number, group in grouped]
        ]
        kinds = self._written_kinds()
        writers = [
            self._make_writer(subtask.number, kinds if number < WRITERS else ())
            for number, subtask in enumerate(subtasks)
        ]
        return StreamTask(
            self._role.name,
            subtasks,
            writers,
            self._reader,
            assignment,
            self._settings.worker,
            self._role.foreign_topics(self._pipeline),
        )

    def _make_writer(self, number: int | str, kinds: Iterable[TopicKind]) -> TransactionWriter:
        transactional_id = member_name(self._pipeline.name, self._role.name, number)
        return TransactionWriter(self._writer_config(), transactional_id, self._name_of, kinds)

    def _make_processor(self, inputs: Sequence[InputPartition]) -> Processor:
        reporter = TaskReporter(self._pipeline.name, self._name, self._context.encoders.monitoring)
        return FaultPublisher(
            self._role.make(self._context, inputs), self._restarts, self._outages, reporter
        )

    def _written_kinds(self) -> list[TopicKind]:
        return [kind for kind, use in USES.items() if self._role.name in use.writers]

    def _name_of(self, kind: TopicKind) -> str:
        """Return the full name of a topic that `USES` lets this role write.

        Other topics are a bug, because ACLs are made from `USES`.
        """
        if self._role.name not in USES[kind].writers:
            raise AssertionError(f"{self._role.name} is not declared to write {kind}")
        return topic_name(self._pipeline.name, kind)

    def _writer_config(self) -> dict[str, Any]:
        return {
            **self._config,
            "transaction.timeout.ms": int(self._settings.worker.transaction_timeout_seconds * 1000),
            "message.max.bytes": self._settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
            "batch.size": min(1_000_000, self._settings.topics.max_message_bytes),
            "partitioner": partitioner_of(self._pipeline).option,
        }


def _explained(error: BaseException | None) -> BaseException:
    """Return the reason why Faust ended as a StreamAppError where it is known."""
    if error is None or isinstance(error, KafkaConnectionError):
        reason = "Faust stopped" if error is None else "the worker's consumer could not connect"
        return KafkaUnavailableError(
            reason, "See the lines above, and check that the brokers are up and reachable"
        )
    return error
