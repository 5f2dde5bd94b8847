"""A field that appears in a source's records, or has another type, gives one line in the log."""

from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from stream_app.core.reading.decoding import NO_SCHEMAS
from stream_app.records import Record
from stream_app.sources import Epoch, FieldOrigin, Source
from stream_app.worker.roles.source_fields import SourceFields
from tests.small_pipeline import NOW

USUAL: dict[str, Any] = {
    "order": {"id": "o1", "buyer": {"name": "Ann"}, "tags": {"a": 1}},
    "payment": {"ts": 1},
    "amount": 1,
    "note": None,
}


class Seen:
    """Fields of the usual records; a second passes before each further one."""

    def __init__(self, **changes: Any) -> None:
        fields: dict[str, FieldOrigin] = {
            "id": "order.id",
            "at": Epoch("payment.ts", "s"),
            "who": "order.buyer.name",
        }
        source = Source(topic="shop.orders", name="o", start="earliest", fields=fields, **changes)
        self._fields = SourceFields(source)
        self.now = NOW
        for number in range(50):
            self.new({**USUAL, "seldom": True} if number % 9 == 0 else USUAL)

    def new(self, value: object, wait: int = 1000) -> list[str]:
        """Return what is new in a record."""
        self.now += wait
        content = value if isinstance(value, bytes) else orjson.dumps(value)
        record = Record("shop.orders", 1, 7, NOW, b"k", content)
        with capture_logs() as lines:
            self._fields.look(record, NO_SCHEMAS, self.now)
        assert len(lines) <= 1
        for line in lines:
            assert (line["source"], line["record"]) == ("o", "shop.orders[1]@7")
        return [text for line in lines for text in line["new"]]


def test_the_usual_fields_give_no_line() -> None:
    seen = Seen()
    assert seen.new(USUAL) == seen.new({**USUAL, "seldom": False, "amount": 2.5}) == []
    assert seen.new({**USUAL, "amount": None}) == seen.new({}) == []


def test_a_new_field_and_another_type_are_named_once() -> None:
    seen = Seen()
    changed = {**USUAL, "amount": "1", "channel": "web", "note": "x"}
    assert seen.new(changed) == [
        "amount: string instead of number", "note: string", "channel: string",
    ]  # fmt: skip
    assert seen.new(changed) == []


def test_fields_beside_those_that_are_used_are_looked_at_and_no_others() -> None:
    seen = Seen()
    order = {**USUAL["order"], "line": 1}
    assert seen.new({**USUAL, "order": order}) == ["order.line: number"]
    order["buyer"] = {"name": "Ann", "city": "Rome"}
    assert seen.new({**USUAL, "order": order}) == ["order.buyer.city: string"]
    # May be keys of a map, such as names of people.
    order["tags"] = {"ann@example.org": 1}
    assert seen.new({**USUAL, "order": order}) == []


def test_one_record_a_second_is_looked_at() -> None:
    seen = Seen()
    assert seen.new(USUAL) == []
    assert seen.new({**USUAL, "early": 1}, wait=999) == []
    assert seen.new({**USUAL, "late": 1}, wait=1) == ["late: number"]


@pytest.mark.parametrize("value", [b"{broken", b"[]", b"", b"\0\0\0\0\7x", b'{"a": NaN'])
def test_what_cannot_be_read_is_left_to_dead_letters(value: bytes) -> None:
    assert Seen().new(value) == []


def test_names_without_end_are_not_reported_without_end() -> None:
    seen = Seen()
    many = {f"n{number}": 1 for number in range(1200)}
    assert len(seen.new({**USUAL, **many})) == 20
    assert seen.new({**USUAL, "other": 1}) == []
    assert Seen().new({**USUAL, "text": "x" * 100_000}) == []


def test_the_row_of_an_envelope_is_looked_at() -> None:
    seen = Seen(envelope="debezium")
    for number in range(50):
        seen.new({"op": "c", "after": USUAL, "source": {"lsn": number}})
    assert seen.new({"op": "c", "after": {**USUAL, "more": 1}}) == ["more: number"]
    assert seen.new({"op": "d", "before": {**USUAL, "gone": 1}, "after": None}) == []
