"""Trial process: processes candidates and discards the result, so that a crash happens here.

Usage: `python -m stream_app.worker.quarantine.trial_process <pipeline> <socket> <base>`

This process has a single thread and only loads the pipeline. It forks, and the fork works; when
the fork crashes, the next one is ready within milliseconds. Messages on the socket are tuples:

- received: (manifest or None, `TrialKind`, now, records)
- sent: ("ready",), ("result", index of a record, code, message), ("done",) and
  ("crashed", exit status, location)
"""

import faulthandler
import os
import resource
import signal
import sys
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep
from typing import Any

from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.direct_reading import DirectIntake
from stream_app.core.reading.record_reader import Event, EventReader, LabelReader
from stream_app.core.reading.replayed_selection import ReplayedIntake, input_of
from stream_app.core.reading.selection import SourceIntake
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.loading import load_pipeline
from stream_app.model_store.artifacts import ArtifactStore, pipeline_store
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import LoadedModel, load_verified
from stream_app.parent_death import set_parent_death_signal
from stream_app.records import Failure, Record
from stream_app.schema_registry.schema_cache import SchemaCache, open_schema_cache
from stream_app.settings import load_settings
from stream_app.worker.quarantine.journal import (
    Journal,
    crash_location,
    error_location,
    worker_file,
)
from stream_app.worker.quarantine.trial_runs import TrialKind

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SCHEMA_POLL_SECONDS = 0.02


class TrialRunner:
    """Processes a record as a scorer or `ingest` does, and discards the result."""

    def __init__(self, spec: str) -> None:
        self._settings = load_settings()
        self._pipeline = load_pipeline(spec)
        self._fingerprint = fingerprint(self._pipeline)
        self._intakes = {
            source.topic: SourceIntake(self._pipeline, source, label=is_label)
            for is_label, sources in (
                (False, self._pipeline.sources),
                (True, self._pipeline.label.sources),
            )
            for source in sources
        }
        self._replayed = ReplayedIntake.of(self._pipeline)
        self._direct = DirectIntake.of(self._pipeline)
        self._events, self._labels = EventReader(self._pipeline), LabelReader(self._pipeline)
        self._model: LoadedModel | None = None
        self.limits = self._pipeline.limits

    def serve(self, connection: Connection, journal: Journal) -> None:
        """Answer the messages on a connection until the other side closes it."""
        schemas = open_schema_cache(self._settings.registry)
        slot = journal.slot(0)
        connection.send(("ready",))
        while True:
            manifest, kind, now, records = connection.recv()
            if manifest is not None:
                self._load_version(Manifest.decode(manifest))
            known = _wait_for_schemas(schemas, records)
            _limit_memory(self.limits.memory_mb)
            for index, _ in enumerate(slot.journaled(0, records)):
                found = self._process(records[index], kind, now, known)
                if found is not None:
                    connection.send(("result", index, *found))
            _limit_memory(None)
            connection.send(("done",))

    @cached_property
    def _store(self) -> ArtifactStore:
        """Store of the models; `ingest` has none."""
        return pipeline_store(self._settings, self._pipeline.name)

    def _load_version(self, manifest: Manifest) -> None:
        if self._model is None or self._model.version != manifest.version:
            self._model = load_verified(self._store, manifest, self._pipeline, self._fingerprint)

    def _process(
        self, record: Record, kind: TrialKind, now: int, schemas: Schemas
    ) -> tuple[str, str] | None:
        """Return code and message if the record would end a worker or needs too much memory."""
        try:
            read = self._read(record, kind, now, schemas)
        except MemoryError as error:
            return _memory_exhausted(error)
        except BaseException as error:
            return _crashed(error)
        if isinstance(read, Failure):
            cause = read.exception
            return _memory_exhausted(cause) if isinstance(cause, MemoryError) else None
        return self._predict(read) if isinstance(read, Event) else None

    def _read(self, record: Record, kind: TrialKind, now: int, schemas: Schemas) -> object:
        if kind == "source":
            intake = self._intakes.get(record.topic)
            if intake is None:
                return self._replayed.read(input_of(record), record, schemas)
            return intake.read(record, schemas)
        if kind == "label":
            return self._labels.read(record, now, schemas)
        if self._direct is not None:
            record, result = self._direct.read(record, schemas)
            if result is not None:
                return result
        return self._events.read(record, now, schemas)

    def _predict(self, event: Event) -> tuple[str, str] | None:
        try:
            self._model.score(event.features)  # type: ignore[union-attr]  # loaded before
        except MemoryError as error:
            return _memory_exhausted(error)
        except Exception:
            # An ordinary failure of the record.
            return None
        except BaseException as error:
            return _crashed(error)
        return None


def _crashed(error: BaseException) -> tuple[str, str]:
    return "record-crashes", f"{type(error).__name__} {error_location(error)}".rstrip()


def _memory_exhausted(error: MemoryError) -> tuple[str, str]:
    message = f"the record needs more memory than its limit {error_location(error)}"
    return "record-exhausts-memory", message.rstrip()


def _wait_for_schemas(cache: SchemaCache, records: list[Record]) -> Schemas:
    """Return the schemas of the records, once the registry has answered; the worker had them."""
    while True:
        count, schemas = cache.ready(records)
        if count == len(records):
            return schemas
        sleep(_SCHEMA_POLL_SECONDS)


def _limit_memory(megabytes: int | None) -> None:
    """Limit the memory that this process may add to its present use; None removes the limit."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    used = int(Path("/proc/self/statm").read_bytes().split()[5]) * _PAGE_BYTES
    wanted = hard if megabytes is None else used + (megabytes << 20)
    resource.setrlimit(
        resource.RLIMIT_DATA,
        (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard),
    )


def main(spec: str, descriptor: int, base: Path) -> None:
    """Keep one fork running until the worker has ended."""
    # Signals of the terminal are for the worker; this process ends with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(descriptor)
    runner = TrialRunner(spec)
    parent = os.getpid()
    trace = worker_file(base, "trace")
    while True:
        fork = os.fork()
        if fork == 0:
            set_parent_death_signal(parent)
            _run_fork(runner, connection, base)
        _, status = os.waitpid(fork, 0)
        connection.send(("crashed", os.waitstatus_to_exitcode(status), crash_location(trace)))


def _run_fork(runner: TrialRunner, connection: Connection, base: Path) -> Any:
    try:
        trace = worker_file(base, "trace").open("w")
        faulthandler.enable(trace)
        runner.serve(connection, Journal(worker_file(base, "journal"), runner.limits))
    except BaseException as error:
        sys.stderr.write(f"trial run failed: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
