"""Rows of JSON files, also of those that `stream-app consume --json` wrote."""

import orjson

from stream_app.transfer.json_lines import BadLine, Row, json_rows


def consumed(value: object) -> bytes:
    return orjson.dumps(
        {
            "topic": "p.raw",
            "partition": 2,
            "offset": 41,
            "timestamp": "2026-01-01T00:00:00.000+00:00",
            "key": "a",
            "headers": {"value": "x"},
            "value": value,
        }
    )


def test_a_consumed_line_gives_the_value_of_its_record() -> None:
    event = {"id": "a", "amount": 0.1, "topic": "not ours"}
    assert list(json_rows([consumed(event)], ("id",))) == [Row(1, b"a", orjson.dumps(event))]


def test_a_consumed_value_that_is_no_object_is_named_by_its_position() -> None:
    lines = [consumed(None), consumed("text"), consumed({"base64": "/w=="})]
    problem = "the value of p.raw[2]@41 is not a JSON object"
    assert list(json_rows(lines, ("id",))) == [BadLine(n, problem) for n in (1, 2, 3)]


def test_an_event_with_fields_of_the_same_names_and_others_stays_as_it_is() -> None:
    event = {**orjson.loads(consumed({"id": "b"})), "id": "a"}
    assert list(json_rows([orjson.dumps(event)], ("id",))) == [Row(1, b"a", orjson.dumps(event))]
