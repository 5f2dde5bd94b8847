"""`try` on a sample of a source's topic, and the test harness on records of a source."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_app.errors import InputError
from stream_app.loading import complete, load_pipeline
from stream_app.offline.record_outcomes import EventOutcome
from stream_app.offline.simulation import SampledSources, SimulatedRecord, open_simulation
from stream_app.offline.simulation_rendering import summary_lines
from stream_app.offline.simulation_summary import summarise
from stream_app.pipeline import Pipeline
from stream_app.records import Record
from stream_app.sources import Constant, Coordinates, Epoch, RecordKey, RecordTimestamp, Source
from stream_app.testing import PipelineHarness
from stream_app.transfer.json_lines import BadLine, open_lines
from stream_app.transfer.source_files import source_records
from tests.in_process import run_in_process
from tests.running_system import ROOT
from tests.small_pipeline import HOUR, NOW, small_pipeline

ORDERS = Source(
    topic="shop.orders",
    name="orders",
    start="earliest",
    fields={"id": "order.id", "at": Epoch("ts", "s"), "country": Constant("NL")},
    where=lambda record: bool(record["kind"] == "order"),
)
VERDICTS = Source(
    topic="shop.verdicts",
    name="verdicts",
    start="earliest",
    fields={"id": "order", "known_at": Epoch("ts", "s")},
)


def pipeline_of(*sources: Source, **changes: Any) -> Pipeline:
    label = replace(small_pipeline().label, sources=(VERDICTS,))
    return complete(small_pipeline(sources=sources, label=label, **changes))


def order(number: int, **changes: Any) -> dict[str, Any]:
    inner = {"id": f"e{number}"}
    return {"order": inner, "ts": NOW // 1000, "amount": number, "kind": "order", **changes}


def verdict(number: int) -> dict[str, Any]:
    return {"order": f"e{number}", "ts": (NOW + HOUR) // 1000, "fraud": number % 2 == 0}


def write(path: Path, lines: list[Any]) -> str:
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return str(path)


def tried(
    pipeline: Pipeline, events: str, labels: str | None = None
) -> tuple[list[SimulatedRecord], dict[str, Any]]:
    sources = SampledSources("orders", "verdicts")
    with open_simulation(pipeline, events, labels, sources=sources) as (simulation, _):
        return list(simulation), summarise(simulation, 1.0, complete=True)


def test_a_sample_of_each_topic_is_tried(tmp_path: Path) -> None:
    events = [order(1), order(2, kind="refund"), None, order(3, ts="now"), {"kind": "order"}]
    path = tmp_path / "events.jsonl"
    consumed = {
        "topic": "shop.orders", "partition": 0, "offset": 9, "timestamp": None, "key": None,
        "headers": [], "value": None,
    }  # fmt: skip
    events[2] = consumed
    labels = write(tmp_path / "labels.jsonl", [verdict(1), {"ts": 1}])
    found, summary = tried(pipeline_of(ORDERS), write(path, events), labels)
    outcomes = [(one.line.kind, one.line.number, one.outcome and one.outcome.kind) for one in found]
    assert outcomes == [
        ("event", 1, "scored"),
        ("event", 2, "filtered"),
        ("event", 3, "tombstone"),
        ("event", 4, "dead-lettered"),
        ("event", 5, "dead-lettered"),
        ("label", 1, "joined"),
        ("label", 2, "dead-lettered"),
    ]
    scored = found[0].outcome
    assert isinstance(scored, EventOutcome)
    assert scored.record is not None
    assert scored.record["origin"] == {
        "source": "orders",
        "partition": 0,
        "offset": 0,
    }
    assert summary["events"] == {
        "read": 5,
        "scored": 1,
        "duplicates": 0,
        "assumed": 0,
        "retrying": 0,
        "dead_lettered": {"event-time-invalid": 1, "missing-field": 1},
        "not_sent": 0,
        "filtered": 1,
        "tombstones": 1,
    }
    assert {cause["message"] for cause in summary["causes"]} == {
        "field at is not a number of seconds since 1970 but string (source orders: ts)",
        "field id is missing (source orders: order.id)",
        "field id is missing (source verdicts: order)",
    }
    text = "\n".join(summary_lines(summary))
    assert "5: 1 scored, 2 dead-lettered, 1 filtered, 1 tombstone" in text


def test_a_source_that_is_not_declared_is_named(tmp_path: Path) -> None:
    events = write(tmp_path / "events.jsonl", [order(1)])
    with (
        pytest.raises(InputError, match=r"no source of events with the name orders\. Declare it"),
        open_simulation(pipeline_of(), events, sources=SampledSources("orders")) as (simulation, _),
    ):
        list(simulation)


def records(path: Path, lines: list[Any]) -> list[Any]:
    with open_lines(write(path, lines)) as opened:
        return list(source_records(opened, "json", ORDERS))


def test_lines_of_kcat_and_consume_are_whole_records(tmp_path: Path) -> None:
    value = {"a": [1, "x"]}
    kcat = {
        "topic": "shop.orders", "partition": 3, "offset": 7, "tstype": "create", "ts": NOW,
        "broker": 0, "key": "k", "payload": '{"a": [1,"x"]}',
    }  # fmt: skip
    consumed = {
        "topic": "shop.orders", "partition": 3, "offset": 8, "key": {"base64": "/w=="},
        "timestamp": "2023-11-14T22:13:20.000+00:00", "headers": [], "value": value,
    }  # fmt: skip
    binary = {**consumed, "value": {"base64": base64.b64encode(b"\0x").decode()}, "key": {"k": 1}}
    assert records(tmp_path / "sample", [kcat, consumed, binary, value]) == [
        (1, Record("shop.orders", 3, 7, NOW, b"k", b'{"a": [1,"x"]}')),
        (2, Record("shop.orders", 3, 8, NOW, b"\xff", b'{"a":[1,"x"]}')),
        (3, Record("shop.orders", 3, 8, NOW, b'{"k":1}', b"\0x")),
        (4, Record("shop.orders", 0, 3, -1, None, b'{"a":[1,"x"]}')),
    ]


def test_a_line_of_kcat_with_other_types_is_not_a_record(tmp_path: Path) -> None:
    kcat = {"topic": "t", "partition": "x", "offset": 7, "ts": 1, "key": None, "payload": None}
    assert records(tmp_path / "sample", [kcat]) == [
        BadLine(1, "not a record as consume --json or kcat -J write it")
    ]


def test_a_csv_file_is_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("id\n1\n")
    with (
        pytest.raises(InputError, match="is CSV, which no topic of a source has"),
        open_simulation(pipeline_of(ORDERS), str(path), sources=SampledSources("orders")) as opened,
    ):
        list(opened[0])


def test_the_harness_takes_records_of_a_source() -> None:
    harness = PipelineHarness(pipeline_of(ORDERS))
    outcome = harness.event(order(1), source="orders")
    assert outcome.kind == "scored"
    assert outcome.record is not None
    assert outcome.record["event_id"] == "e1"
    assert outcome.record["origin"] == {"source": "orders", "partition": 0, "offset": 0}
    assert harness.event(order(1), source="orders").kind == "duplicate"
    assert harness.event(order(2, kind="refund"), source="orders").kind == "filtered"
    assert harness.event(None, source="orders").kind == "tombstone"
    failed = harness.event({"kind": "order"}, source="orders")
    assert (failed.kind, failed.error_code) == ("dead-lettered", "missing-field")
    assert (
        harness.event({}, source="orders").error_message == "KeyError in the filter (source orders)"
    )
    assert harness.label(verdict(1), source="verdicts").kind == "joined"
    assert harness.label({}, source="verdicts").error_code == "missing-field"
    assert harness.label(None, source="verdicts").kind == "tombstone"
    direct = harness.event({"id": "e5", "at": NOW, "amount": 1.0, "country": None})
    assert direct.record is not None
    assert direct.record["origin"] is None
    with pytest.raises(InputError, match=r"the name order\. Choose from orders"):
        harness.event(order(1), source="order")


def test_parts_of_the_kafka_record_are_fields() -> None:
    parts = Source(
        topic="shop.parts",
        name="parts",
        start="latest",
        fields={"id": Coordinates(), "at": RecordTimestamp(), "country": RecordKey()},
    )
    harness = PipelineHarness(pipeline_of(parts, pass_through=("country",)), now=NOW)
    outcome = harness.event({"amount": 1}, key="NL", source="parts")
    assert outcome.record is not None
    assert (outcome.record["event_id"], outcome.record["event_time"]) == ("parts/0/0", NOW)
    assert outcome.fields == {"country": "NL"}


def test_a_dead_letter_keeps_the_position_in_the_source() -> None:
    harness = PipelineHarness(pipeline_of(ORDERS))
    failed = harness.event(order(1, amount="much"), source="orders").dead_letter
    assert failed is not None
    assert ("stream-app-source", b"orders/0/0/0") in failed.headers
    assert failed.message == "field amount: expected double, got string (source orders: amount)"


def test_the_pipeline_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sources.md").read_text()
    (block,) = re.findall(r"^```python\n(from datetime.*?)```", text, re.DOTALL | re.MULTILINE)
    file = tmp_path / "fraud.py"
    file.write_text(block)
    harness = PipelineHarness(replace(load_pipeline(str(file)), untrained="allowed"))
    sent = {
        "order": {"id": "o1", "buyer": {"id": "c1"}, "lines": []},
        "payment": {"ts": 1_700_000_000},
        "total": 12.5,
    }
    outcome = harness.event(sent, source="orders")
    assert outcome.features == {"total": 12.5}
    verdict = {"order": "o1", "ts": 1_700_003_600, "fraud": True}
    assert harness.label(verdict, source="verdicts").kind == "joined"
    failed = harness.event({**sent, "payment": {"ts": 1_700_000_000_000}}, source="orders")
    assert failed.error_message is not None
    assert failed.error_message in text


def test_the_command_tries_a_sample(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sources.md").read_text()
    (block,) = re.findall(r"^```python\n(from datetime.*?)```", text, re.DOTALL | re.MULTILINE)
    file = tmp_path / "fraud.py"
    file.write_text(block)
    sent = {"order": {"id": "o1", "buyer": {"id": "c1"}}, "payment": {"ts": 1}, "total": 1}
    events = write(tmp_path / "events.jsonl", [sent, {"order": 1}])
    result = run_in_process("try", str(file), events, "--source", "orders", "--json")
    assert result.returncode == 0, result.stderr
    lines = [orjson.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("outcome") for line in lines] == ["scored", "dead-lettered", None]
    result = run_in_process("try", str(file), events, "--source", "order")
    assert result.returncode == 11
    assert "fraud has no source of events with the name order" in result.stderr
    assert "Choose from orders" in result.stderr
