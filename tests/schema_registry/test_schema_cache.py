"""The schema cache: tasks never wait in it, what it is told it keeps, what it is not told it asks again."""

import json
import threading
import time
from collections.abc import Callable
from uuid import UUID

import pytest

from stream_app.core.reading.avro_frame import SchemaId, framed
from stream_app.errors import RegistryError
from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.records import Failure, Record
from stream_app.schema_registry import UnknownSchemaError
from stream_app.schema_registry import schema_cache as module
from stream_app.schema_registry.schema_cache import SchemaCache
from tests.small_pipeline import EVENT_SCHEMA, record

GUID = UUID("89791762-2336-4186-9674-299b90a802e2")


class Shelf:
    """A registry in memory that can be down, or hang until `going` is set."""

    def __init__(self) -> None:
        self.schemas: dict[SchemaId, str] = {}
        self.asked: list[SchemaId] = []
        self.down = False
        self.reason = "The registry does not answer"
        self.going = threading.Event()
        self.going.set()

    def schema(self, schema_id: SchemaId) -> str:
        self.asked.append(schema_id)
        self.going.wait(10)
        if self.down:
            raise RegistryError(self.reason, "Wait")
        if schema_id not in self.schemas:
            raise UnknownSchemaError(f"the registry has no schema {schema_id}")
        return self.schemas[schema_id]

    def versions(self, subject: str) -> list[str]:
        return []

    def id_of(self, subject: str, schema: str) -> int | None:
        return None

    def register(self, subject: str, schema: str) -> int:
        return 0


def avro(schema_id: int) -> Record:
    return record(framed(b"", schema_id))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    shelf.schemas = {
        1: json.dumps(EVENT_SCHEMA),
        2: '"string"',
        3: "{",
        4: "[" * 100_000,
        GUID: json.dumps(EVENT_SCHEMA),
    }
    return shelf


def test_json_is_ready_without_a_question(shelf: Shelf) -> None:
    records = [
        record(b"{}"),
        record(None),
        record(b""),
        record(b"\0"),
        record({"id": "a"}, headers=[("h", b"x")]),
    ]
    assert SchemaCache(shelf).ready(records) == (5, {})
    assert shelf.asked == []


def test_records_are_ready_up_to_the_first_whose_schema_is_not_known_yet(shelf: Shelf) -> None:
    cache = SchemaCache(shelf)
    shelf.going.clear()
    records = [record(b"{}"), avro(1), record(b"{}"), avro(9), avro(1)]
    assert cache.ready(records).number == 1
    shelf.going.set()
    eventually(lambda: cache.ready(records).number == 5)
    schemas = cache.ready(records).schemas
    assert callable(schemas[1])
    assert schemas[9] == Failure("unknown-schema", "the registry has no schema 9")
    assert shelf.asked == [1, 9]
    guid = record(b"x", headers=[(VALUE_SCHEMA_ID, b"\1" + GUID.bytes)])
    eventually(lambda: cache.ready([guid]).number == 1)
    assert callable(cache.ready([guid]).schemas[GUID])


@pytest.mark.parametrize("schema_id", [2, 3, 4])
def test_a_schema_that_no_record_can_have_is_a_failure_of_the_record(
    shelf: Shelf, schema_id: int
) -> None:
    cache = SchemaCache(shelf)
    eventually(lambda: cache.ready([avro(schema_id)]).number == 1)
    failure = cache.ready([avro(schema_id)]).schemas[schema_id]
    assert isinstance(failure, Failure)
    assert failure.code == "invalid-avro"
    assert failure.message.startswith(f"schema {schema_id} cannot be used: ")


def test_nothing_is_ready_while_the_registry_is_down_and_everything_once_it_is_back(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    shelf.down = True
    cache = SchemaCache(shelf)
    assert cache.ready([avro(1)]).number == 0
    eventually(lambda: cache.problem is not None)
    assert cache.problem == "The registry does not answer. Wait"
    eventually(lambda: cache.ready([avro(1)]).number == 0 and len(shelf.asked) > 3)
    shelf.down = False
    eventually(lambda: cache.ready([avro(1)]).number == 1)
    assert cache.problem is None


def test_every_reason_to_wait_is_told_once(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module.log, "warning", lambda _, why: told.append(why), raising=False)
    shelf.down = True
    cache = SchemaCache(shelf)
    for reason in ("It is away", "It does not let us in"):
        shelf.reason = reason
        asked = len(shelf.asked)
        eventually(lambda: cache.ready([avro(1)]).number == 0 and len(shelf.asked) > asked + 3)  # noqa: B023
    assert told == ["It is away. Wait", "It does not let us in. Wait"]


def test_an_unknown_schema_is_asked_for_again_before_long_and_a_known_one_never(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNKNOWN_SECONDS", 0.1)
    cache = SchemaCache(shelf)
    eventually(lambda: cache.ready([avro(9), avro(1)]).number == 2)
    shelf.schemas[9] = shelf.schemas[1]
    eventually(lambda: callable(cache.ready([avro(9)]).schemas.get(9)))
    assert (shelf.asked.count(9), shelf.asked.count(1)) == (2, 1)


def test_whoever_comes_late_for_an_answer_still_gets_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNKNOWN_SECONDS", 0.01)
    cache = SchemaCache(shelf)
    assert cache.ready([avro(9)]).number == 0
    eventually(lambda: 9 in cache._answers)
    time.sleep(0.05)  # as long as a task that works on another input
    assert cache.ready([avro(9)]).number == 1


def test_what_is_kept_has_a_bound_and_what_is_used_stays(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    cache = SchemaCache(shelf)
    for number in range(100, 150):
        eventually(lambda: cache.ready([avro(1), avro(number)]).number == 2)  # noqa: B023 -- called at once
    assert len(cache._answers) == 10
    assert shelf.asked.count(1) == 1


def test_a_flood_of_ids_is_worked_off_although_not_all_can_be_kept(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    cache = SchemaCache(shelf)
    left = [avro(number) for number in range(1000, 1100)]

    def work() -> bool:
        del left[: cache.ready(left).number]
        return not left

    eventually(work)


def test_without_a_registry_every_id_is_unknown_and_the_message_says_why() -> None:
    number, schemas = SchemaCache(None).ready([avro(1)])
    failure = schemas[1]
    assert number == 1
    assert isinstance(failure, Failure)
    assert failure.code == "unknown-schema"
    assert "STREAM_APP_REGISTRY__URL" in failure.message


def test_what_is_known_from_elsewhere_is_not_asked_for(shelf: Shelf) -> None:
    cache = SchemaCache(shelf)
    cache.add(5, json.dumps(EVENT_SCHEMA))
    assert cache.ready([avro(5)]).number == 1
    assert shelf.asked == []
