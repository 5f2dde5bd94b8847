"""Cache of compiled schema readers, by the schema ids that Avro records carry."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from threading import Condition, Thread
from time import monotonic, sleep
from typing import NamedTuple

from stream_app.core.reading.avro_reader import AvroReader, compile_reader
from stream_app.core.reading.decoding import NO_SCHEMAS, SchemaId, Schemas, schema_ids
from stream_app.errors import StreamAppError
from stream_app.records import Failure, Record
from stream_app.schema_registry import SchemaRegistry, UnknownSchemaError, open_registry
from stream_app.schema_registry.registry import ForeignSchemaError
from stream_app.settings import RegistrySettings
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

# A replica of the registry may not have a new schema yet: an unknown one is asked for again, so
# often and so long, before its records become dead letters.
CONFIRM_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 0.5
# After that was in vain, other unknown schemas are not waited for, so that many wrong ids delay
# other records for at most a tenth of the time.
IMPATIENT_SECONDS = 45.0
# The least recently used schema is dropped.
MAX_SCHEMAS = 1000
# The registry is asked again for an unknown schema this long after the answer was first used.
UNKNOWN_SECONDS = 2.0
# An unused answer is kept this long, for a task that asked and has processed other input since.
UNUSED_SECONDS = 60.0
# Pause after a request that the registry did not answer.
RETRY_SECONDS = 1.0

NO_REGISTRY = Failure(
    "unknown-schema",
    "the record names a schema of a registry (Avro, JSON Schema or Protobuf), and no registry is "
    "configured: set STREAM_APP_REGISTRY__URL if it is Avro, else send plain JSON",
)


class ResolvedSchemas(NamedTuple):
    """Schemas for the first `number` records, which can be decoded now."""

    number: int
    schemas: Schemas


class _Answer(NamedTuple):
    """Answer of the registry; `expires` is monotonic, in seconds.

    Attributes:
        missing: True if the registry has no schema of the id, which it may get later.
    """

    reader: AvroReader | Failure
    expires: float
    missing: bool = False

    def used(self, now: float) -> "_Answer":
        """Return the answer after its first use, from which an unknown schema expires sooner."""
        if self.expires == inf:
            return self
        return self._replace(expires=min(self.expires, now + UNKNOWN_SECONDS))


class _Request(NamedTuple):
    """Request of a schema; `since` and `due` are monotonic, in seconds."""

    since: float
    due: float


class SchemaCache(Mapping[SchemaId, AvroReader | Failure]):
    """Readers of schemas, fetched from a registry when they are first needed. Thread-safe.

    Workers must not block: they call `ready`, which requests missing schemas in the background,
    and try again later. Tools use the cache as a mapping, `cache[schema_id]`, which blocks until
    the registry answers and raises `RegistryError` if it does not. Iterating gives the ids that
    are cached.

    Args:
        registry: source of the schemas; without one, every id is unknown.

    Attributes:
        problem: reason why the registry does not answer, or None.
    """

    def __init__(self, registry: SchemaRegistry | None) -> None:
        self._registry = registry
        # In the order of their last use.
        self._answers: dict[SchemaId, _Answer] = {}
        # In the order in which they were requested.
        self._requested: dict[SchemaId, _Request] = {}
        # Schemas that were waited for in vain, in that order.
        self._absent: dict[SchemaId, None] = {}
        self._impatient_until = -inf
        self._changed = Condition()
        self._thread: Thread | None = None
        self.problem: str | None = None

    def ready(self, records: Sequence[Record]) -> ResolvedSchemas:
        """Return the known schemas of records without blocking, and request the missing ones."""
        ids = schema_ids(records)
        if not ids:
            return ResolvedSchemas(len(records), NO_SCHEMAS)
        schemas = self._find(ids)
        missing = ids - schemas.keys()
        first = (number for number, record in enumerate(records) if schema_ids([record]) & missing)
        return ResolvedSchemas(next(first) if missing else len(records), schemas)

    def add(self, schema_id: SchemaId, schema: str) -> None:
        """Add a schema that is known without asking the registry."""
        with self._changed:
            self._keep(schema_id, _Answer(_reader(schema_id, schema), inf))

    def __getitem__(self, schema_id: SchemaId) -> AvroReader | Failure:
        if self._registry is None:
            return NO_REGISTRY
        with self._changed:
            answer = self._use(schema_id, monotonic())
        if answer is None:
            answer = _ask(self._registry, schema_id)
            with self._changed:
                self._keep(schema_id, answer.used(monotonic()))
        return answer.reader

    def __iter__(self) -> Iterator[SchemaId]:
        return iter(list(self._answers))

    def __len__(self) -> int:
        return len(self._answers)

    def _find(self, ids: Iterable[SchemaId]) -> dict[SchemaId, AvroReader | Failure]:
        registry = self._registry
        if registry is None:
            return dict.fromkeys(ids, NO_REGISTRY)
        found: dict[SchemaId, AvroReader | Failure] = {}
        now = monotonic()
        with self._changed:
            for schema_id in ids:
                answer = self._use(schema_id, now)
                if answer is None:
                    self._request(schema_id, registry)
                else:
                    found[schema_id] = answer.reader
        return found

    def _use(self, schema_id: SchemaId, now: float) -> _Answer | None:
        """Return the cached answer, now the most recently used, or None if there is none."""
        answer = self._answers.pop(schema_id, None)
        if answer is None or answer.expires < now:
            return None
        self._answers[schema_id] = answer.used(now)
        return answer

    def _keep(self, schema_id: SchemaId, answer: _Answer) -> None:
        self._answers[schema_id] = answer
        while len(self._answers) > MAX_SCHEMAS:
            del self._answers[next(iter(self._answers))]

    def _request(self, schema_id: SchemaId, registry: SchemaRegistry) -> None:
        if len(self._requested) < MAX_SCHEMAS and schema_id not in self._requested:
            now = monotonic()
            self._requested[schema_id] = _Request(now, now)
        if self._thread is None:
            self._thread = Thread(target=self._run, args=(registry,), name="schemas", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self, registry: SchemaRegistry) -> None:
        while True:
            schema_id = self._next_due()
            answer = self._try_to_ask(registry, schema_id)
            with self._changed:
                if answer is not None:
                    self._finish(schema_id, answer)
                else:
                    # Tasks that still wait for a schema request it again.
                    self._requested.clear()
            if answer is None:
                sleep(RETRY_SECONDS)

    def _next_due(self) -> SchemaId:
        """Wait until a request is due, and return its schema."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._requested)
                schema_id, request = min(self._requested.items(), key=lambda item: item[1].due)
                seconds = request.due - monotonic()
                if seconds <= 0:
                    return schema_id
                self._changed.wait(seconds)

    def _finish(self, schema_id: SchemaId, answer: _Answer) -> None:
        """Keep an answer, or ask again later for a schema that may be new."""
        now, request = monotonic(), self._requested.pop(schema_id)
        if answer.missing and schema_id not in self._absent and now >= self._impatient_until:
            if now - request.since < CONFIRM_SECONDS:
                self._requested[schema_id] = request._replace(due=now + _ASK_AGAIN_SECONDS)
                return
            self._impatient_until = now + IMPATIENT_SECONDS
        if answer.missing:
            self._absent[schema_id] = None
            if len(self._absent) > MAX_SCHEMAS:
                del self._absent[next(iter(self._absent))]
        self._keep(schema_id, answer)

    def _try_to_ask(self, registry: SchemaRegistry, schema_id: SchemaId) -> _Answer | None:
        try:
            answer = _ask(registry, schema_id)
        # Records wait until there is an answer, whatever the reason.
        except Exception as error:
            self._log(str(error) if isinstance(error, StreamAppError) else type(error).__name__)
            return None
        self._log(None)
        return answer

    def _log(self, problem: str | None) -> None:
        """Log once that the registry does not answer, and once that it answers again."""
        if problem == self.problem:
            return
        if problem is None:
            log.info("the schema registry answers again")
        else:
            log.warning("waiting for the schema registry", why=problem)
        self.problem = problem


def open_schema_cache(settings: RegistrySettings) -> SchemaCache:
    """Return a cache of the configured registry; without one, every id is unknown."""
    return SchemaCache(open_registry(settings) if settings.url else None)


def _ask(registry: SchemaRegistry, schema_id: SchemaId) -> _Answer:
    try:
        return _Answer(_reader(schema_id, registry.schema(schema_id)), inf)
    except UnknownSchemaError as error:
        unknown = Failure("unknown-schema", str(error))
        missing = not isinstance(error, ForeignSchemaError)
        return _Answer(unknown, monotonic() + UNUSED_SECONDS, missing)


def _reader(schema_id: SchemaId, schema: str) -> AvroReader | Failure:
    try:
        return compile_reader(json.loads(schema))
    except (ValueError, RecursionError) as error:
        return Failure("invalid-avro", f"schema {schema_id} cannot be used: {error}")
