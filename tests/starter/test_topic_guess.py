"""Each part of a pipeline is guessed from samples of topics, and what was guessed runs."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from stream_app.core.reading.selection import Forwarded, SourceIntake, SourceReader
from stream_app.errors import InputError
from stream_app.headers import SourcePosition
from stream_app.loading import load_pipeline
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Record
from stream_app.settings import Settings
from stream_app.sources import Constant, Coordinates, Epoch, LocalTime, RecordKey, RecordTimestamp
from stream_app.starter.generated_sources import topic_files
from stream_app.starter.record_kinds import columns_of_events
from stream_app.starter.role_guesses import ChosenColumns
from stream_app.starter.topic_columns import TopicColumns
from stream_app.starter.topic_guess import TopicGuess, guess_topics
from stream_app.starter.topic_sample import decode_sample, places
from tests.running_system import ROOT
from tests.starter.topic_records import (
    BASE,
    PARTITIONS,
    Row,
    order_records,
    verdict_records,
)


def columns(records: Sequence[Record]) -> TopicColumns:
    topic = records[0].topic
    size = PARTITIONS[topic], len(records)
    return columns_of_events(decode_sample(Settings(), records, topic, size))


class Guessed(NamedTuple):
    """Guess, and the pipeline that was written from it."""

    guess: TopicGuess
    pipeline: Pipeline
    text: str

    @property
    def choices(self) -> list[str]:
        return list(self.guess.choices())

    @property
    def origins(self) -> dict[str, Any]:
        return dict(self.pipeline.sources[0].fields)

    @property
    def label_origins(self) -> dict[str, Any]:
        return dict(self.pipeline.label.sources[0].fields)


@pytest.fixture
def guessed(tmp_path: Path) -> Any:
    """Return a function that guesses a pipeline, and loads what was written."""

    def guess(events: list[Record], labels: list[Record] | None = None, **chosen: str) -> Guessed:
        found = guess_topics(
            columns(events), columns(labels) if labels else None, ChosenColumns(**chosen)
        )
        for name, text in topic_files("fraud", found).items():
            (tmp_path / name).write_text(text)
        path = tmp_path / "fraud.py"
        pipeline = load_pipeline(str(path))
        check_records(pipeline, events, labels)
        return Guessed(found, pipeline, path.read_text())

    return guess


def check_records(pipeline: Pipeline, events: list[Record], labels: list[Record] | None) -> None:
    """Check that ingest forwards each record of the sample, and that the scorer reads it."""
    for records, label in ((events, False), (labels or [], True)):
        source = (pipeline.label.sources if label else pipeline.sources)[0] if records else None
        if source is None:
            continue
        declared = pipeline.label if label else pipeline
        time = pipeline.label.time if label else pipeline.event_time
        intake = SourceIntake(pipeline, source, label=label)
        reader = SourceReader(source, parsed(declared.schema), time)
        for record in records:
            found = intake.read(record)
            if record.value is None or found == "filtered":
                continue
            assert isinstance(found, Forwarded), found
            assert found.time is not None
            position = SourcePosition(
                source.source_name, record.partition, record.offset, record.timestamp
            )
            forwarded = record._replace(key=found.key, headers=found.headers)
            fields = reader.read(forwarded, position)
            assert isinstance(fields, dict), fields


def with_amount(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
    """Key orders by their id."""
    return row, row["order"]["id"].encode()


def test_orders_and_verdicts_are_recognised(guessed: Any) -> None:
    found = guessed(order_records(), verdict_records())
    pipeline = found.pipeline
    assert (pipeline.event_id, pipeline.event_time) == ("order_id", "payment_ts")
    assert pipeline.key == "order_id"
    assert found.origins == {
        "order_id": "order.id",
        "order_buyer_country": "order.buyer.country",
        "payment_card": "payment.card",
        "payment_ts": Epoch("payment.ts", "s"),
    }
    assert found.label_origins == {"order_id": "order", "ts": Epoch("ts", "s")}
    label = pipeline.label
    assert (label.field, label.time, label.positive, label.absent) == ("fraud", "ts", 1, None)
    assert label.horizon == timedelta(days=1)
    assert found.choices == []
    assert "600 of 600 values differ; 600 of 600 labels have it as order" in found.text
    assert "keys are placed by crc32, as by librdkafka and kcat" in found.text
    assert "600 of 600 keys are placed by murmur2" in found.text
    assert "600 numbers, as Unix seconds; 600 of 600 are not before their event" in found.text
    assert "the records' key, order_buyer_id, is not in the labels" in found.text


def test_labels_with_the_buyer_key_the_pipeline_by_it(guessed: Any) -> None:
    buyers = {orjson.loads(one.value or b"")["order"]["id"]: one.key for one in order_records()}

    def by_key(_: int, row: Row, __: bytes | None) -> tuple[Row, bytes | None]:
        return row, buyers[row["order"]]

    def by_field(_: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return row | {"who": {"id": (buyers[row["order"]] or b"").decode()}}, key

    for change, origin in ((by_key, RecordKey()), (by_field, "who.id")):
        found = guessed(order_records(), verdict_records(change))
        assert found.pipeline.key == "order_buyer_id"
        assert found.origins["order_buyer_id"] == "order.buyer.id"
        assert found.label_origins["order_buyer_id"] == origin
        assert "600 of 600 are the same" in found.text


def test_without_labels_the_user_must_choose_their_topic(guessed: Any) -> None:
    found = guessed(order_records(with_amount))
    assert found.pipeline.key == "order_id"
    assert found.pipeline.label.sources == ()
    assert [choice[:22] for choice in found.choices] == [
        "no topic of labels was",
        "how long after an even",
    ]
    assert found.text.count("# CHOOSE: ") == 2


@pytest.mark.parametrize(
    ("time", "origin"),
    [
        (lambda n: BASE + n, Epoch("payment.ts", "s")),
        (lambda n: BASE + n + 0.25, Epoch("payment.ts", "s")),
        (lambda n: (BASE + n) * 1000, Epoch("payment.ts", "ms")),
        (lambda n: (BASE + n) * 10**6, Epoch("payment.ts", "us")),
        (lambda n: (BASE + n) * 10**9, Epoch("payment.ts", "ns")),
        (lambda n: f"2025-03-03T{n // 60 % 24:02}:{n % 60:02}:00+01:00", "payment.ts"),
        (lambda n: f"2025-03-03T{n // 60 % 24:02}:{n % 60:02}:00Z", "payment.ts"),
        (lambda n: f"2025-03-03 {n // 60 % 24:02}:{n % 60:02}:00", LocalTime("payment.ts", "UTC")),
        (lambda n: None if n % 2 else BASE, RecordTimestamp()),
    ],
)
def test_times_have_a_unit_or_a_zone(guessed: Any, time: Any, origin: Any) -> None:
    def change(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return row | {"payment": {"ts": time(number)}}, key

    found = guessed(order_records(change))
    if isinstance(origin, RecordTimestamp):
        assert found.pipeline.event_time == "record_timestamp"
        assert found.choices[0].startswith("no field is a time that is never missing")
    else:
        assert found.pipeline.event_time == "payment_ts"
        assert bool(isinstance(origin, LocalTime)) == found.choices[0].startswith("the times have")
    assert found.origins[found.pipeline.event_time] == origin


def test_a_zone_is_proposed_from_the_timestamps(guessed: Any) -> None:
    def change(hours: int) -> Any:
        def change(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
            local = datetime.fromtimestamp(BASE + 60 * number, UTC) + timedelta(hours=hours)
            return row | {"payment": {"ts": local.isoformat()[:19]}}, key

        return change

    for hours, remark in ((2, "2 h ahead of"), (-5, "5 h behind")):
        found = guessed(order_records(change(hours)))
        assert f"; they are {remark} the records' timestamps" in found.choices[0]
    assert "timestamps" not in guessed(order_records(change(0))).choices[0]


def test_the_id_may_be_the_key_or_missing(guessed: Any) -> None:
    def without(number: int, row: Row, _: bytes | None) -> tuple[Row, bytes | None]:
        return row | {"order": {"buyer": row["order"]["buyer"]}}, f"o{number}".encode()

    found = guessed(order_records(without), verdict_records())
    assert (found.pipeline.event_id, found.origins["record_key"]) == ("record_key", RecordKey())
    assert found.label_origins["record_key"] == "order"
    assert "600 of 600 labels have it as order" in found.text

    def keyless(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return without(number, row, key)[0], None

    found = guessed(order_records(keyless))
    assert found.origins["coordinates"] == Coordinates()
    assert found.choices[0].startswith(
        "no field identifies an event; the nearest is order_buyer_id"
    )


@pytest.mark.parametrize(
    ("labels", "positive", "negative", "kind"),
    [
        ((1, 0), 1, None, "long"),
        ((True, False), None, None, "boolean"),
        (("fraud", "ok"), "fraud", "ok", "string"),
        (("yes", "no"), "yes", "no", "string"),
        (("low", "middle", "high"), None, None, "string"),
        ((3.5, 7.25, 9.0), None, None, "double"),
    ],
)
def test_the_kind_of_the_label_follows_from_its_values(
    guessed: Any, labels: tuple[Any, ...], positive: Any, negative: Any, kind: str
) -> None:
    def change(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        value = labels[0] if number % 7 == 0 else labels[1 + number % (len(labels) - 1)]
        return {"order": row["order"], "at": row["ts"], "result": {"value": value}}, key

    label = guessed(order_records(), verdict_records(change)).pipeline.label
    assert (label.field, label.positive, label.negative) == ("result_value", positive, negative)
    fields = {field["name"]: field["type"] for field in parsed(label.schema)["fields"]}
    assert fields["result_value"] == kind


def test_labels_of_frauds_only_mean_that_others_are_none(guessed: Any) -> None:
    def chargeback(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return {"order": row["order"], "ts": row["ts"]}, key

    def frauds(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return row | {"fraud": 1}, key

    for change, name in ((chargeback, "label"), (frauds, "fraud")):
        found = guessed(order_records(), verdict_records(change)[::9])
        label = found.pipeline.label
        assert (label.field, label.absent) == (name, False)
        assert found.label_origins[name] == Constant(True)
        assert "so each record is taken as true" in found.choices[0]

    def clean(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return row | {"fraud": 0}, key

    with pytest.raises(InputError, match="fraud cannot be the label: all of the sample are 0"):
        guessed(order_records(), verdict_records(clean))


def test_labels_of_other_events_are_linked_by_their_names(guessed: Any) -> None:
    def other(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return {
            "verdict_nr": number,
            "order_id": f"x{number}",
            "ts": row["ts"],
            "fraud": row["fraud"],
        }, None

    found = guessed(order_records(), verdict_records(other))
    assert "order_id" not in found.label_origins
    assert found.choices[0].startswith(
        "no label of the sample has an event of the sample; order_id"
    )
    assert found.choices[1].startswith("no label of the sample has its event in the sample, so how")


@pytest.mark.parametrize("wrapped", [False, True])
def test_change_events_of_a_database_are_unwrapped(guessed: Any, wrapped: bool) -> None:
    def change(number: int, row: Row, _: bytes | None) -> tuple[Row | None, bytes | None]:
        after = {"id": number, "ts": (BASE + number) * 10**6, "amount": row["amount"]}
        operation = "u" if number % 10 == 3 else "r" if number < 50 else "c"
        event = {
            "op": operation,
            "before": None,
            "after": after,
            "source": {"lsn": number},
            "ts_ms": 1,
        }
        key = orjson.dumps({"id": number})
        if number % 10 == 7:
            return None, key
        return ({"schema": {}, "payload": event} if wrapped else event), key

    found = guessed(order_records(change))
    (source,) = found.pipeline.sources
    assert (source.envelope, found.pipeline.event_id) == ("debezium", "id")
    assert found.origins == {"ts": Epoch("ts", "us")}
    assert "the event id, which is the key of the records" in found.text
    assert "60 of 600 sampled records are left out: they are changes" in found.text
    assert "60 of 600 sampled records are left out: they have no value" in found.text


def test_the_envelope_of_connect_is_unwrapped(guessed: Any) -> None:
    def change(_: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return {"schema": {"type": "struct"}, "payload": row}, key

    found = guessed(order_records(change))
    assert found.pipeline.sources[0].envelope == "connect"
    assert found.origins["order_id"] == "order.id"


def test_events_among_other_records_are_filtered(guessed: Any) -> None:
    def change(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        if number % 4 == 1:
            return {"meta": {"type": "Login"}, "user": {"session": f"s{number}"}}, key
        return row | {"meta": {"type": "OrderPlaced"}}, key

    found = guessed(order_records(change), verdict_records())
    where = found.pipeline.sources[0].where
    assert where({"meta": {"type": "OrderPlaced"}}) is True
    assert where({"meta": {"type": "Login"}}) is False
    assert (
        "Only the 450 records of the sample with meta.type OrderPlaced have order.id" in found.text
    )
    assert "150 of 600 sampled records are left out: the filter leaves them out" in found.text
    assert found.pipeline.event_id == "order_id"
    assert "450 of 450 values differ; 450 of 600 labels have it as order" in found.text


def test_records_that_are_sent_twice_hide_no_id(guessed: Any) -> None:
    records = order_records()
    again = [one._replace(offset=one.offset + 1000) for one in records[::7]]
    found = guessed(records + again)
    assert found.pipeline.event_id == "order_id"
    assert (
        f"{len(again)} of {600 + len(again)} sampled records are left out: they equal" in found.text
    )


def test_hostile_names_are_fields_of_the_schema_or_left_out(guessed: Any) -> None:
    def change(_: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        hostile = {
            'a"b\\': row["amount"],
            "Größe": row["amount"] * 2,
            "2nd\n": row["amount"],
            "payment_card": "x" if row["amount"] > 50 else "y",
            "amount.x": 1.5,
            "": 3,
            "list": [1],
        }
        return row | hostile, key

    found = guessed(order_records(change))
    names = set(found.origins)
    assert {"a_b_", "Gr__e", "_2nd_", "payment_card_2"} <= names
    assert found.origins["payment_card_2"] == "payment.card"
    assert not {name for name in names if "amount_x" in name}


def test_what_is_written_passes_ruff(guessed: Any, tmp_path: Path) -> None:
    guessed(order_records(), verdict_records())
    config = ["--config", str(ROOT / "pyproject.toml"), "-q", str(tmp_path / "fraud.py")]
    for command in (["check"], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_options_name_paths_or_fields(guessed: Any) -> None:
    def change(number: int, row: Row, key: bytes | None) -> tuple[Row, bytes | None]:
        return row | {"sent": row["payment"]["ts"] + 1, "nr": {"x": f"n{number}"}}, key

    for time, identity in (("sent", "nr.x"), ("sent", "nr_x")):
        found = guessed(order_records(change), event_time=time, event_id=identity)
        assert (found.pipeline.event_time, found.pipeline.event_id) == ("sent", "nr_x")
    with pytest.raises(InputError, match=r"--id 'nr\.y' is not a field of shop\.orders"):
        guessed(order_records(change), event_id="nr.y")
    with pytest.raises(InputError, match=r"--label 'late' is not a field of shop\.verdicts"):
        guessed(order_records(), verdict_records(), label="late")
    with pytest.raises(InputError, match="kind cannot be the time of the event: it is no time"):
        guessed(order_records(), event_time="kind")


def test_records_that_cannot_be_read_are_named() -> None:
    records = order_records()
    broken = [one._replace(value=b"<order/>") for one in records]
    with pytest.raises(InputError, match=r"shop\.orders\[0\]@0: invalid-json"):
        columns(broken)
    with pytest.raises(InputError, match="no registry is configured"):
        columns([one._replace(value=b"\0\0\0\0\7\2") for one in records])
    few = [*broken[:100], *records[100:]]
    assert columns(few).sample.left_out == {"unreadable": 100}
    with pytest.raises(InputError, match="has 9 records in the sample, too few"):
        columns(records[:9])


@pytest.mark.parametrize(
    ("end", "limit"), [(0, 9), (1, 1), (9, 9), (10, 9), (11, 9), (1000, 9), (4, 1), (3, 2)]
)
def test_the_places_of_a_sample_do_not_overlap(end: int, limit: int) -> None:
    found = [offset for start, stop in places(0, end, limit) for offset in range(start, stop)]
    assert len(set(found)) == len(found) <= max(limit, 3)
    assert not end or {0, end - 1} <= set(found)
