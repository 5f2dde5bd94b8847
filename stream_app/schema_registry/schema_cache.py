"""The schemas that a worker's Avro records name, fetched from the registry by a thread that may wait for it."""

import json
from collections.abc import Iterable, Sequence
from math import inf
from threading import Condition, Thread
from time import monotonic, sleep
from typing import NamedTuple

from stream_app.core.reading.avro_frame import SchemaId, schema_ids
from stream_app.core.reading.avro_reader import Reader, compile_reader
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.errors import StreamAppError
from stream_app.records import Failure, Record
from stream_app.schema_registry import SchemaRegistry, UnknownSchemaError
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

KEPT = 1000  # schemas; the one that was not used for longest goes
UNKNOWN_SECONDS = 2.0  # after which the registry is asked again for a schema that it did not have
UNUSED_SECONDS = (
    60.0  # that such an answer is kept for a task that asked for it and has had other work since
)
RETRY_SECONDS = 1.0  # after the registry gave no answer

NO_REGISTRY = Failure(
    "unknown-schema",
    "the record is Avro, and no schema registry is configured: set STREAM_APP_REGISTRY__URL",
)


class ResolvedSchemas(NamedTuple):
    """How many records, from the first, can be decoded now, and the schemas for that."""

    number: int
    schemas: Schemas


class _Answer(NamedTuple):
    reader: Reader | Failure
    expires: float

    def used(self, now: float) -> "_Answer":
        """The same as it is from its first use on."""
        return (
            self
            if self.expires == inf
            else self._replace(expires=min(self.expires, now + UNKNOWN_SECONDS))
        )


class SchemaCache:
    """Schemas by id, shared by the parts of a task; without a registry every id is unknown.

    A task never waits here: it asks for what it needs, and again a little later while that is not there.
    """

    def __init__(self, registry: SchemaRegistry | None) -> None:
        self._registry = registry
        self._answers: dict[SchemaId, _Answer] = {}  # in the order of their use
        self._wanted: dict[SchemaId, None] = {}  # in the order in which they were asked for
        self._changed = Condition()
        self._thread: Thread | None = None
        self.problem: str | None = None  # why the registry gives no answers

    def ready(self, records: Sequence[Record]) -> ResolvedSchemas:
        """What is known of the schemas of these records; what is not known is asked for meanwhile."""
        ids = schema_ids(records)
        if not ids:
            return ResolvedSchemas(len(records), NO_SCHEMAS)
        schemas = self._find(ids)
        missing = ids - schemas.keys()
        first = (number for number, record in enumerate(records) if schema_ids([record]) & missing)
        return ResolvedSchemas(next(first) if missing else len(records), schemas)

    def add(self, schema_id: SchemaId, schema: str) -> None:
        """Note a schema that is known from elsewhere."""
        with self._changed:
            self._keep(schema_id, _Answer(_reader(schema_id, schema), inf))

    def _find(self, ids: Iterable[SchemaId]) -> dict[SchemaId, Reader | Failure]:
        registry = self._registry
        if registry is None:
            return dict.fromkeys(ids, NO_REGISTRY)
        found: dict[SchemaId, Reader | Failure] = {}
        now = monotonic()
        with self._changed:
            for schema_id in ids:
                answer = self._answers.pop(schema_id, None)
                if answer is None or answer.expires < now:
                    self._want(schema_id, registry)
                else:
                    self._answers[schema_id] = answer.used(now)
                    found[schema_id] = answer.reader
        return found

    def _want(self, schema_id: SchemaId, registry: SchemaRegistry) -> None:
        if len(self._wanted) < KEPT:
            self._wanted[schema_id] = None
        if self._thread is None:
            self._thread = Thread(target=self._run, args=(registry,), name="schemas", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _keep(self, schema_id: SchemaId, answer: _Answer) -> None:
        self._answers[schema_id] = answer
        while len(self._answers) > KEPT:
            del self._answers[next(iter(self._answers))]

    def _run(self, registry: SchemaRegistry) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted)
                schema_id = next(iter(self._wanted))
            answer = self._ask(registry, schema_id)
            with self._changed:
                if answer is not None:
                    del self._wanted[schema_id]
                    self._keep(schema_id, answer)
                else:
                    self._wanted.clear()  # whoever still waits asks again
            if answer is None:
                sleep(RETRY_SECONDS)

    def _ask(self, registry: SchemaRegistry, schema_id: SchemaId) -> _Answer | None:
        """What the registry says; None if it does not."""
        try:
            answer = _Answer(_reader(schema_id, registry.schema(schema_id)), inf)
        except UnknownSchemaError as error:
            unknown = Failure("unknown-schema", str(error))
            answer = _Answer(unknown, monotonic() + UNUSED_SECONDS)
        except (
            Exception
        ) as error:  # records wait for as long as there is no answer, whatever the reason
            self._note(str(error) if isinstance(error, StreamAppError) else type(error).__name__)
            return None
        self._note(None)
        return answer

    def _note(self, problem: str | None) -> None:
        """Say once why the registry does not answer, and once that it does again."""
        if problem == self.problem:
            return
        if problem is None:
            log.info("the schema registry answers again")
        else:
            log.warning("waiting for the schema registry", why=problem)
        self.problem = problem


def _reader(schema_id: SchemaId, schema: str) -> Reader | Failure:
    try:
        return compile_reader(json.loads(schema))
    except (ValueError, RecursionError) as error:
        return Failure("invalid-avro", f"schema {schema_id} cannot be used: {error}")
