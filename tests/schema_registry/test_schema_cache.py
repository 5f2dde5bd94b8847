"""Schema cache: background requests, expiry of unknown schemas, and its bound."""

import json
import threading
import time
from collections.abc import Callable
from uuid import UUID

import pytest

from stream_app.core.reading.decoding import SchemaId, add_frame, decode
from stream_app.errors import RegistryError
from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.records import Failure, Record
from stream_app.schema_registry import UnknownSchemaError
from stream_app.schema_registry import schema_cache as module
from stream_app.schema_registry.registry import ForeignSchemaError
from stream_app.schema_registry.schema_cache import SchemaCache
from tests.patience import PATIENCE
from tests.small_pipeline import EVENT_SCHEMA, record

GUID = UUID("89791762-2336-4186-9674-299b90a802e2")


class FakeRegistry:
    """Registry in memory that can be down, or hang until `running` is set."""

    def __init__(self) -> None:
        self.schemas: dict[SchemaId, str] = {}
        self.asked: list[SchemaId] = []
        self.down = False
        self.reason = "The registry does not answer"
        self.running = threading.Event()
        self.running.set()

    def schema(self, schema_id: SchemaId) -> str:
        self.asked.append(schema_id)
        self.running.wait(10 * PATIENCE)
        if self.down:
            raise RegistryError(self.reason, "Wait")
        if schema_id not in self.schemas:
            raise UnknownSchemaError(f"the registry has no schema {schema_id}")
        return self.schemas[schema_id]

    def versions(self, subject: str) -> list[str]:
        return []

    def lookup_id(self, subject: str, schema: str) -> int | None:
        return None

    def register(self, subject: str, schema: str) -> int:
        return 0


def avro(schema_id: int) -> Record:
    return record(add_frame(b"", schema_id))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for unknown schemas, except in the tests of that."""
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 0.0)
    monkeypatch.setattr(module, "_ASK_AGAIN_SECONDS", 0.01)


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.schemas = {
        1: json.dumps(EVENT_SCHEMA),
        2: '"string"',
        3: "{",
        4: "[" * 100_000,
        GUID: json.dumps(EVENT_SCHEMA),
    }
    return registry


def test_json_records_are_ready_without_a_request(registry: FakeRegistry) -> None:
    records = [
        record(b"{}"),
        record(None),
        record(b""),
        record(b"\0"),
        record({"id": "a"}, headers=[("h", b"x")]),
    ]
    assert SchemaCache(registry).ready(records) == (5, {})
    assert registry.asked == []


def test_records_are_ready_up_to_the_first_with_a_missing_schema(registry: FakeRegistry) -> None:
    cache = SchemaCache(registry)
    registry.running.clear()
    records = [record(b"{}"), avro(1), record(b"{}"), avro(9), avro(1)]
    assert cache.ready(records).number == 1
    registry.running.set()
    eventually(lambda: cache.ready(records).number == 5)
    schemas = cache.ready(records).schemas
    assert callable(schemas[1])
    assert schemas[9] == Failure("unknown-schema", "the registry has no schema 9")
    assert registry.asked == [1, 9]
    guid = record(b"x", headers=[(VALUE_SCHEMA_ID, b"\1" + GUID.bytes)])
    eventually(lambda: cache.ready([guid]).number == 1)
    assert callable(cache.ready([guid]).schemas[GUID])


@pytest.mark.parametrize("schema_id", [2, 3, 4])
def test_an_invalid_schema_is_a_failure_of_its_records(
    registry: FakeRegistry, schema_id: int
) -> None:
    cache = SchemaCache(registry)
    eventually(lambda: cache.ready([avro(schema_id)]).number == 1)
    failure = cache.ready([avro(schema_id)]).schemas[schema_id]
    assert isinstance(failure, Failure)
    assert failure.code == "invalid-avro"
    assert failure.message.startswith(f"schema {schema_id} cannot be used: ")


def test_records_become_ready_once_the_registry_is_available_again(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    registry.down = True
    cache = SchemaCache(registry)
    assert cache.ready([avro(1)]).number == 0
    eventually(lambda: cache.problem is not None)
    assert cache.problem == "The registry does not answer. Wait"
    eventually(lambda: cache.ready([avro(1)]).number == 0 and len(registry.asked) > 3)
    registry.down = False
    eventually(lambda: cache.ready([avro(1)]).number == 1)
    assert cache.problem is None


def test_each_problem_of_the_registry_is_logged_once(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module.log, "warning", lambda _, why: logged.append(why), raising=False)
    registry.down = True
    cache = SchemaCache(registry)
    for reason in ("It is away", "It does not let us in"):
        registry.reason = reason
        asked = len(registry.asked)
        eventually(lambda: cache.ready([avro(1)]).number == 0 and len(registry.asked) > asked + 3)  # noqa: B023
    assert logged == ["It is away. Wait", "It does not let us in. Wait"]


def test_only_unknown_schemas_are_requested_again(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough that it does not expire before the schema is there, also on a slow machine.
    monkeypatch.setattr(module, "UNKNOWN_SECONDS", 1.0)
    cache = SchemaCache(registry)
    eventually(lambda: cache.ready([avro(9), avro(1)]).number == 2)
    registry.schemas[9] = registry.schemas[1]
    eventually(lambda: callable(cache.ready([avro(9)]).schemas.get(9)))
    assert (registry.asked.count(9), registry.asked.count(1)) == (2, 1)


def test_a_schema_that_a_replica_does_not_have_yet_is_no_failure(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 30.0)
    cache = SchemaCache(registry)
    eventually(lambda: cache.ready([avro(9)]).number == 0 and registry.asked.count(9) > 2)
    # Other schemas are resolved meanwhile.
    eventually(lambda: cache.ready([avro(1)]).number == 1)
    registry.schemas[9] = registry.schemas[1]
    eventually(lambda: cache.ready([avro(9)]).number == 1)
    assert callable(cache.ready([avro(9)]).schemas[9])


def test_many_wrong_ids_are_waited_for_once(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 0.3)
    cache = SchemaCache(registry)
    began = time.monotonic()
    eventually(lambda: cache.ready([avro(9)]).number == 1)
    assert time.monotonic() - began > 0.3
    asked = len(registry.asked)
    for number in range(100, 120):
        eventually(lambda: cache.ready([avro(number)]).number == 1)  # noqa: B023 -- called at once
    assert len(registry.asked) == asked + 20


def test_an_absent_schema_is_waited_for_once(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("CONFIRM", 0.3), ("IMPATIENT", 0.0), ("UNKNOWN", 0.0)):
        monkeypatch.setattr(module, f"{name}_SECONDS", seconds)
    cache = SchemaCache(registry)
    eventually(lambda: cache.ready([avro(9)]).number == 1)
    asked = len(registry.asked)
    time.sleep(0.01)  # the used answer expires
    eventually(lambda: cache.ready([avro(9)]).number == 1)
    assert len(registry.asked) == asked + 1


def test_a_schema_of_another_kind_is_a_failure_at_once(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 30.0)
    monkeypatch.setattr(registry, "schema", foreign)
    cache = SchemaCache(registry)
    eventually(lambda: cache.ready([avro(9)]).number == 1)
    failure = cache.ready([avro(9)]).schemas[9]
    assert failure == Failure("unknown-schema", "schema 9 is PROTOBUF, not AVRO")


def foreign(schema_id: SchemaId) -> str:
    raise ForeignSchemaError(f"schema {schema_id} is PROTOBUF, not AVRO")


def test_an_answer_is_kept_until_its_first_use(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNKNOWN_SECONDS", 0.01)
    cache = SchemaCache(registry)
    assert cache.ready([avro(9)]).number == 0
    eventually(lambda: 9 in cache._answers)
    time.sleep(0.05)  # like a task that processes another input
    assert cache.ready([avro(9)]).number == 1


def test_the_least_recently_used_schemas_are_dropped(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SCHEMAS", 10)
    cache = SchemaCache(registry)
    for number in range(100, 150):
        eventually(lambda: cache.ready([avro(1), avro(number)]).number == 2)  # noqa: B023 -- called at once
    assert len(cache._answers) == 10
    assert registry.asked.count(1) == 1


def test_more_schemas_than_the_cache_holds_are_all_resolved(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SCHEMAS", 10)
    cache = SchemaCache(registry)
    left = [avro(number) for number in range(1000, 1100)]

    def work() -> bool:
        del left[: cache.ready(left).number]
        return not left

    eventually(work)


def test_without_a_registry_every_schema_is_unknown_with_a_remedy() -> None:
    number, schemas = SchemaCache(None).ready([avro(1)])
    failure = schemas[1]
    assert number == 1
    assert isinstance(failure, Failure)
    assert failure.code == "unknown-schema"
    assert "STREAM_APP_REGISTRY__URL" in failure.message


def test_an_added_schema_is_not_requested(registry: FakeRegistry) -> None:
    cache = SchemaCache(registry)
    cache.add(5, json.dumps(EVENT_SCHEMA))
    assert cache.ready([avro(5)]).number == 1
    assert registry.asked == []


def test_looking_up_a_schema_waits_for_the_registry_and_asks_once(registry: FakeRegistry) -> None:
    cache = SchemaCache(registry)
    assert callable(cache[1])
    assert cache[1] is cache[1]
    assert cache[9] == Failure("unknown-schema", "the registry has no schema 9")
    assert list(cache) == [1, 9]
    assert registry.asked == [1, 9]
    registry.down = True
    with pytest.raises(RegistryError, match="does not answer"):
        cache[2]


def test_without_a_registry_the_format_is_not_claimed() -> None:
    """JSON Schema and Protobuf have the same frame as Avro."""
    failure = decode(b"\0\0\0\0\7{}", (), SchemaCache(None))
    assert isinstance(failure, Failure)
    assert failure.code == "unknown-schema"
    assert "names a schema of a registry (Avro, JSON Schema or Protobuf)" in failure.message
