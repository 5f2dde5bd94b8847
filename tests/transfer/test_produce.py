"""The records of a file arrive unchanged, with their keys, in the partitions that Java chooses."""

import os
import time
from pathlib import Path
from threading import Timer
from typing import Any

import orjson
import pytest
from aiokafka.partitioner import murmur2

from stream_app.broker import EmbeddedBroker
from stream_app.errors import InputError, KafkaUnavailableError, TopicsError
from stream_app.settings import Settings
from stream_app.transfer.produce import ProduceSummary, produce_file
from tests.faults.freezing import freeze
from tests.small_pipeline import event, label, small_pipeline
from tests.transfer.clusters import PARTITIONS, new_topics, read, settings_for, unique_name

pytestmark = pytest.mark.broker


def produce(
    settings: Settings, name: str, path: Path, text: str | bytes, **options: Any
) -> ProduceSummary:
    """Send a file with a text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return produce_file(settings, small_pipeline(name), str(path), **options)


def test_json_lines_arrive_unchanged_in_java_s_partitions(
    settings: Settings, name: str, tmp_path: Path
) -> None:
    lines = [f'{{"id": "é{number}",  "at": 1e3, "amount": 1.50}}' for number in range(200)]
    done = produce(settings, name, tmp_path / "events.jsonl", "\r\n".join(lines) + "\n\n")
    assert done == ProduceSummary(f"{name}.raw", produced=200)
    messages = read(settings, name, "raw")
    assert sorted((message.value() or b"").decode() for message in messages) == sorted(lines)
    for message in messages:
        key = message.key() or b""
        assert key.decode() == orjson.loads(message.value() or b"")["id"]
        assert message.partition() == (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
    assert {message.partition() for message in messages} == set(range(PARTITIONS))


def test_csv_cells_get_the_types_of_the_schema(
    settings: Settings, name: str, tmp_path: Path
) -> None:
    text = (
        '\ufeffid,at,amount,country,extra\n007,1700000000000,1.5,"N,\nL",x\n'
        "b,2023-11-14T22:13:20Z,many,,\n"
    )
    assert produce(settings, name, tmp_path / "events.csv", text).produced == 2
    values = {
        message.key(): orjson.loads(message.value() or b"")
        for message in read(settings, name, "raw")
    }
    assert values == {
        b"007": {
            "id": "007",
            "at": 1_700_000_000_000,
            "amount": 1.5,
            "country": "N,\nL",
            "extra": "x",
        },
        b"b": {
            "id": "b",
            "at": "2023-11-14T22:13:20Z",
            "amount": "many",
            "country": None,
            "extra": None,
        },
    }


def test_labels_arrive_in_their_topic_with_the_key_of_the_event(
    settings: Settings, name: str, tmp_path: Path
) -> None:
    assert produce(settings, name, tmp_path / "e.json", orjson.dumps(event(1))).produced == 1
    csv = "id,fraud,known_at\ne1,True,5\n"
    assert (
        produce(settings, name, tmp_path / "l.txt", csv, labels=True, file_format="csv").topic
        == f"{name}.labels"
    )
    (raw,), (sent,) = read(settings, name, "raw"), read(settings, name, "labels")
    assert orjson.loads(sent.value() or b"") == label(1, 5, fraud=True)
    assert (raw.key(), raw.partition()) == (sent.key(), sent.partition())


def test_bad_lines_are_reported_by_number_and_the_others_are_sent(
    settings: Settings, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ['{"id": "a"}', "{broken", "", "[1]", '{"at": 1}', '{"id": null}', '{"id": 7}']
    done = produce(settings, name, tmp_path / "events.jsonl", "\n".join(lines))
    assert (done.produced, done.bad, done.bad_lines, done.failed) == (2, 4, [2, 4, 5, 6], 0)
    assert {message.key() for message in read(settings, name, "raw")} == {b"a", b"7"}
    assert capsys.readouterr().err.splitlines() == [
        "line 2: not JSON: unexpected character, expected a string key, column 2",
        "line 4: not a JSON object",
        "line 5: no key: field id is missing or null",
        "line 6: no key: field id is missing or null",
    ]


def test_bad_csv_rows_are_reported_by_their_first_line(
    settings: Settings, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'id,at\n"a\na",1\nb\n\nc,1,2\n,3\nd,4\n"e"e,5\nf,6\n"open,7\n'
    done = produce(settings, name, tmp_path / "events.csv", text)
    assert (done.produced, done.bad_lines) == (3, [4, 6, 7, 9, 11])
    assert {message.key() for message in read(settings, name, "raw")} == {b"a\na", b"d", b"f"}
    assert "line 4: 1 cells, and the header has 2\n" in capsys.readouterr().err


def test_only_the_first_hundred_problems_are_listed(
    settings: Settings, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = produce(settings, name, tmp_path / "events.jsonl", "x\n" * 250)
    assert (done.bad, len(done.bad_lines)) == (250, 100)
    assert len(capsys.readouterr().err.splitlines()) == 101


def test_a_record_that_kafka_rejects_is_reported_and_the_others_are_sent(
    broker: EmbeddedBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(broker, max_message_bytes=2048)
    name = new_topics(settings)
    noise = [orjson.dumps(event(number, note=f"{number}" * 200)) for number in range(50)]
    large = b'{"id": "large", "note": "' + os.urandom(3000).hex().encode() + b'"}'
    huge = b'{"id": "huge", "note": "' + b"x" * 400_000 + b'"}'
    done = produce(
        settings, name, tmp_path / "events.jsonl", b"\n".join([*noise, large, huge, *noise])
    )
    assert (done.produced, done.failed, sorted(done.failed_lines)) == (100, 2, [51, 52])
    assert "line 51: not delivered: " in capsys.readouterr().err
    assert len(read(settings, name, "raw")) == 100


@pytest.mark.parametrize("frozen", [8.0, 14.0])
def test_records_that_kafka_does_not_confirm_are_told_from_rejected_ones(
    own_broker: EmbeddedBroker,
    tmp_path: Path,
    frozen: float,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream_app.transfer.produce._DELIVERY_MS", 3000)
    monkeypatch.setattr("stream_app.transfer.produce._GIVE_UP_SECONDS", 10.0)
    settings = settings_for(own_broker)
    name, text = new_topics(settings), b"".join(b'{"id": %d}\n' % number for number in range(1500))
    freezing = Timer(2.0, freeze, [own_broker, frozen])
    freezing.start()
    if frozen < 10:
        done = produce(settings, name, tmp_path / "events.jsonl", text, rate=100)
        assert (done.produced + done.unconfirmed, done.failed) == (1500, 0)
        assert done.produced > 0
        assert 0 < done.unconfirmed == len(done.unconfirmed_lines) or done.unconfirmed > 100
        line = done.unconfirmed_lines[0]
        assert f"line {line}: not confirmed by Kafka, perhaps delivered" in capsys.readouterr().err
        arrived = {message.key() for message in read(settings, name, "raw")}
        assert done.produced <= len(arrived) <= 1500
        assert arrived >= {b"%d" % number for number in range(line - 1)}
    else:
        with pytest.raises(KafkaUnavailableError, match="no later line was sent"):
            produce(settings, name, tmp_path / "events.jsonl", text, rate=100)
    freezing.join()


def test_the_rate_is_limited(settings: Settings, name: str, tmp_path: Path) -> None:
    started = time.monotonic()
    assert (
        produce(settings, name, tmp_path / "events.jsonl", '{"id": 1}\n' * 26, rate=50).produced
        == 26
    )
    assert time.monotonic() - started >= 0.5


def test_a_bar_is_shown_on_a_terminal(
    settings: Settings,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert produce(settings, name, tmp_path / "events.jsonl", '{"id": 1}\nx\n').produced == 1
    shown = capsys.readouterr()
    assert f"sending to {name}.raw" in shown.err
    assert "line 2: not JSON" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "absent/events.jsonl",
            None,
            "events.jsonl cannot be read: No such file or directory. Give the path",
        ),
        ("folder.json", None, "folder.json cannot be read: Is a directory"),
        ("events.xml", b"", "The suffix of {path} is unknown. Add --format"),
        ("events.csv", b"id,\xff\n", "{path} is not UTF-8 in line 1. Convert it"),
        ("events.csv", b"", "The header of {path} lacks the key field id. Begin the file"),
        ("events.csv", b"id,at,id\n", "The header of {path} has an empty or repeated name"),
        ("events.csv", b'"id', "The header of {path} is not CSV"),
    ],
)
def test_an_unreadable_file_is_an_error_before_kafka_is_asked(
    tmp_path: Path, file: str, text: bytes | None, expected: str
) -> None:
    path = tmp_path / file
    (tmp_path / "folder.json").mkdir()
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError) as raised:
        produce_file(Settings(), small_pipeline(), str(path))
    assert expected.format(path=path) in str(raised.value)


def test_lines_before_an_unreadable_one_are_delivered(
    settings: Settings, name: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is not UTF-8 in line 3"):
        produce(
            settings, name, tmp_path / "events.jsonl", b'{"id": 1}\n{"id": 2}\n\xff\n{"id": 3}\n'
        )
    assert {message.key() for message in read(settings, name, "raw")} == {b"1", b"2"}


def test_a_missing_topic_is_an_error_before_anything_is_sent(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(TopicsError, match=r"does not exist. Run `stream-app topics create"):
        produce(settings, unique_name(), tmp_path / "events.jsonl", '{"id": 1}')
