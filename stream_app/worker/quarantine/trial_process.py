"""Tries records, so that one that kills or hangs its process does it here: `... child <pipeline> <socket> <base>`.

This process only loads the pipeline. It forks, for which it has a single thread, and the fork does the work; when that
dies the next one is ready within milliseconds. The protocol on the socket is below; each message is a tuple.

To us: (manifest, is a label, now, records).
From us: ("ready",), ("verdict", index of a record, code, why), ("done",) and ("died", exit status, where).
"""

import faulthandler
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep
from typing import Any

from stream_app.broker.parent_death import die_with
from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.record_reader import Event, EventReader, LabelReader
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.loading import load_pipeline
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import LoadedModel, load_verified
from stream_app.records import Failure, Record
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.settings import load_settings
from stream_app.worker.quarantine.crash_location import died_at, raised_at
from stream_app.worker.quarantine.journal import Journal, beside

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PAUSE = 0.02  # seconds between two looks at whether a schema has come


class TrialRunner:
    """Does with a record what a scorer does, and throws the result away."""

    def __init__(self, spec: str) -> None:
        self._settings = load_settings()
        self._pipeline = load_pipeline(spec)
        self._fingerprint = fingerprint(self._pipeline)
        self._store = pipeline_store(self._settings, self._pipeline.name)
        self._events, self._labels = EventReader(self._pipeline), LabelReader(self._pipeline)
        self._model: LoadedModel | None = None
        self.limits = self._pipeline.limits

    def serve(self, connection: Connection, journal: Journal, registry_url: str | None) -> None:
        """Try what comes in, until nothing will."""
        schemas = SchemaCache(open_registry(self._settings.registry) if registry_url else None)
        slot = journal.slot(0)
        connection.send(("ready",))
        while True:
            manifest, is_label, now, records = connection.recv()
            self._follow(Manifest.decode(manifest))
            known = _wait_for_schemas(schemas, records)
            _limit_memory(self.limits.memory_mb)
            for index, _ in enumerate(slot.noting(0, records)):
                found = self._try(records[index], is_label, now, known)
                if found is not None:
                    connection.send(("verdict", index, *found))
            _limit_memory(None)
            connection.send(("done",))

    def _follow(self, manifest: Manifest) -> None:
        if self._model is None or self._model.version != manifest.version:
            self._model = load_verified(self._store, manifest, self._pipeline, self._fingerprint)

    def _try(
        self, record: Record, is_label: bool, now: int, schemas: Schemas
    ) -> tuple[str, str] | None:
        """Code and message if the record would end a worker, or took too much memory."""
        try:
            read = (self._labels if is_label else self._events).read(record, now, schemas)
        except MemoryError as error:
            return _exhausted(error)
        except BaseException as error:
            return "record-crashes", f"{type(error).__name__} {raised_at(error)}".rstrip()
        if isinstance(read, Failure):
            return _exhausted(read.exception) if isinstance(read.exception, MemoryError) else None
        return self._predict(read) if isinstance(read, Event) else None

    def _predict(self, event: Event) -> tuple[str, str] | None:
        try:
            self._model.score(event.features)  # type: ignore[union-attr]  # a version is loaded before
        except MemoryError as error:
            return _exhausted(error)
        except Exception:  # an ordinary failure of the record
            return None
        except BaseException as error:
            return "record-crashes", f"{type(error).__name__} {raised_at(error)}".rstrip()
        return None


def _exhausted(error: MemoryError) -> tuple[str, str]:
    return (
        "record-exhausts-memory",
        f"the record needs more memory than its limit {raised_at(error)}".rstrip(),
    )


def _wait_for_schemas(cache: SchemaCache, records: list[Record]) -> Schemas:
    """The worker had them; our registry's answer may take a moment."""
    while True:
        count, schemas = cache.ready(records)
        if count == len(records):
            return schemas
        sleep(_PAUSE)


def _limit_memory(megabytes: int | None) -> None:
    """Let this process have so much more than it has now; None lifts the limit."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    used = int(Path("/proc/self/statm").read_bytes().split()[5]) * _PAGE
    wanted = hard if megabytes is None else used + (megabytes << 20)
    resource.setrlimit(
        resource.RLIMIT_DATA,
        (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard),
    )


def main(spec: str, descriptor: int, base: Path) -> None:
    """Keep one fork at work, until the worker is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the worker; we end with it
    connection = Connection(descriptor)
    tester = TrialRunner(spec)
    starter = os.getpid()
    while True:
        fork = os.fork()
        if fork == 0:
            die_with(starter)
            _work(tester, connection, base)
        _, status = os.waitpid(fork, 0)
        connection.send(("died", os.waitstatus_to_exitcode(status), died_at(beside(base, "trace"))))


def _work(tester: TrialRunner, connection: Connection, base: Path) -> Any:
    try:
        trace = beside(base, "trace").open("w")
        faulthandler.enable(trace)
        tester.serve(
            connection,
            Journal(beside(base, "journal"), tester.limits),
            load_settings().registry.url,
        )
    except BaseException as error:
        sys.stderr.write(f"records cannot be tried: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
