"""`try` shows the outcome of each record of a file, without a broker."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

import fastavro
import pytest
from typer.testing import CliRunner, Result

from stream_app.cli import app
from stream_app.errors import InputError
from stream_app.starter.starter import write_starter
from tests.patience import PATIENCE
from tests.running_system import ROOT
from tests.small_pipeline import EVENT_SCHEMA, HOUR, LABEL_SCHEMA, NOW, event, label

DECLARED = (
    "from tests.small_pipeline import small_pipeline\npipeline = small_pipeline('payments')\n"
)


@pytest.fixture
def declared(tmp_path: Path) -> str:
    path = tmp_path / "declared.py"
    path.write_text(DECLARED)
    return str(path)


def write(path: Path, *records: Any) -> str:
    """Write a file of JSON lines and return its path; text is written unchanged."""
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return str(path)


def run(*arguments: str, **options: Any) -> Result:
    done = CliRunner().invoke(app, ["try", *arguments], **options)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def objects(*arguments: str, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the records and the summary."""
    *records, summary = map(json.loads, run(*arguments, "--json", **options).stdout.splitlines())
    return records, summary


def test_transient_failures_are_retried_and_fallback_scores_are_marked(
    tmp_path: Path,
) -> None:
    (tmp_path / "declared.py").write_text(
        """
from stream_app import Fallback, Limits, Retry, TransientError
from tests.small_pipeline import small_pipeline

asked = []

def features(fields):
    asked.append(fields["id"])
    if fields["id"] == "e1" or (fields["id"] == "e2" and asked.count("e2") < 5):
        raise TransientError("no answer")
    return {"amount": fields["amount"]}

pipeline = small_pipeline(
    "payments", features=features, limits=Limits(predict_seconds=1e-9), fallback=Fallback(score=0.1)
)
"""
    )
    declared = str(tmp_path / "declared.py")
    events = write(tmp_path / "events.jsonl", event(1), event(2), event(3))
    records, summary = objects(declared, events)
    assert [(found["line"], found["outcome"]) for found in records] == [
        (1, "retrying"), (2, "retrying"), (3, "scored"), (1, "dead-lettered"),
    ]  # fmt: skip
    assert (records[2]["degraded"], records[2]["score"]) == ("rule", 0.1)
    assert records[3]["error"]["code"] == "features-unavailable"
    assert {name: count for name, count in summary["events"].items() if count} == {
        "read": 3, "scored": 2, "dead_lettered": {"features-unavailable": 1},
    }  # fmt: skip
    assert summary["degraded"] == 2
    assert "fallback      scored 2 of them" in run(declared, events).stdout


def test_each_record_has_its_outcome(declared: str, tmp_path: Path) -> None:
    events = write(
        tmp_path / "events.jsonl",
        event(1),
        "",
        "{broken",
        event(2, amount="many"),
        event(1),
        event(3, at=NOW + 2 * HOUR),
        {"amount": 1.0},
    )
    labels = write(
        tmp_path / "labels.jsonl",
        label(1, fraud=True),
        label(1),
        label(4),
        {**label(5), "fraud": "no"},
        label(3, known_at=NOW + 3 * HOUR),
    )
    records, summary = objects(declared, events, "--labels", labels)
    assert [(found["kind"], found["line"], found["outcome"]) for found in records] == [
        ("event", 1, "scored"),
        ("event", 3, "not-sent"),
        ("event", 4, "dead-lettered"),
        ("event", 5, "duplicate"),
        ("label", 1, "joined"),
        ("label", 2, "duplicate"),
        ("label", 3, "waiting"),
        ("label", 4, "dead-lettered"),
        ("event", 6, "scored"),
        ("event", 7, "not-sent"),
        ("label", 5, "joined"),
    ]
    first, _, wrong, *_ = records
    assert first == {
        "kind": "event",
        "line": 1,
        "outcome": "scored",
        "event_id": "e1",
        "event_time": NOW,
        "score": 0.5,
        "prediction": True,
        "imputed": [],
        "model_version": 0,
        "features": {"amount": 1.0, "domestic": True},
        "probabilities": None,
        "degraded": None,
    }
    assert wrong["error"] == {
        "code": "wrong-type",
        "stage": "validate",
        "message": "field amount: expected double, got string",
        "where": None,
        "remedy": "Send the type that the schema declares.",
    }
    assert summary["events"] == {
        "read": 6,
        "scored": 2,
        "duplicates": 1,
        "retrying": 0,
        "assumed": 0,
        "dead_lettered": {"wrong-type": 1},
        "not_sent": 2,
    }
    assert summary["labels"] == {
        "read": 5,
        "joined": 2,
        "waiting": 1,
        "duplicates": 1,
        "expired": 0,
        "contradicting": 0,
        "dead_lettered": {"wrong-type": 1},
        "not_sent": 0,
    }
    assert [(cause["code"], cause["kind"], cause["lines"]) for cause in summary["causes"]] == [
        ("not-sent", "event", [3]), ("wrong-type", "event", [4]),
        ("wrong-type", "label", [4]), ("not-sent", "event", [7]),
    ]  # fmt: skip


def test_an_event_is_scored_by_labels_known_before_it(declared: str, tmp_path: Path) -> None:
    """Labels are in another order in the file; each is learned before the next later event."""
    events = write(
        tmp_path / "e.jsonl", *(event(50, at=NOW + hour * HOUR, id=f"e{hour}") for hour in range(6))
    )
    known = {5: 5.5, 0: 1.5, 1: 3.5}
    labels = write(
        tmp_path / "l.jsonl", *(label(n, int(NOW + hour * HOUR)) for n, hour in known.items())
    )
    records, summary = objects(declared, events, "--labels", labels)
    versions = [found["model_version"] for found in records if found["kind"] == "event"]
    assert versions == [0, 0, 1, 1, 2, 2]
    learned = [
        (found["event_id"], found["model_version"]) for found in records if found["kind"] == "label"
    ]
    assert learned == [("e0", 0), ("e1", 0), ("e5", 2)]
    assert summary["model"] == {"version": 3, "learned": 3, "unlearnable": 0, "not_learned": {}}
    assert summary["label_delay_hours"]["max"] == 2.5


def test_scored_events_show_the_passed_fields(tmp_path: Path) -> None:
    path = tmp_path / "declared.py"
    path.write_text(DECLARED.replace("'payments'", "pass_through=('country',)"))
    events = write(tmp_path / "events.jsonl", event(1, country=None), event(2))
    found, _ = objects(str(path), events)
    assert [line["fields"] for line in found] == [{"country": None}, {"country": "NL"}]


def test_a_label_without_an_event_is_shown_again_as_a_dead_letter(
    declared: str, tmp_path: Path
) -> None:
    later = [event(number, at=NOW + 9 * HOUR) for number in range(10, 22)]
    events = write(tmp_path / "e.jsonl", event(1), *later)
    labels = write(tmp_path / "l.jsonl", "", label(7, known_at=NOW - HOUR))
    records, summary = objects(declared, events, "--labels", labels)
    outcomes = [(found["line"], found["outcome"]) for found in records if found["kind"] == "label"]
    assert outcomes == [(2, "waiting"), (2, "dead-lettered")]
    assert summary["labels"]["dead_lettered"] == {"unknown-event": 1}
    assert summary["causes"][0]["lines"] == [2]
    assert run(declared, events, "--labels", labels, "--failures").stdout.startswith(
        "label      2  unknown-event: "
    )


def test_csv_avro_and_standard_input_give_the_results_of_json_lines(
    declared: str, tmp_path: Path
) -> None:
    rows = [event(1), event(2, country=None), event(3, amount=-2.5)]
    expected = objects(declared, write(tmp_path / "e.jsonl", *rows))
    (tmp_path / "e.csv").write_text("id,at,amount,country\n" + "".join(
        f"{row['id']},{row['at']},{row['amount']},{row['country'] or ''}\n" for row in rows
    ))  # fmt: skip
    with (tmp_path / "e.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(EVENT_SCHEMA), rows)
    for name, shift in (("e.csv", 1), ("e.avro", 0)):
        records, summary = objects(declared, str(tmp_path / name))
        assert [{**found, "line": found["line"] - shift} for found in records] == expected[0]
        assert summary["events"] == expected[1]["events"]
    typed = (tmp_path / "e.jsonl").read_text()
    assert objects(declared, "-", input=typed)[0] == expected[0]


def test_labels_are_read_from_avro(declared: str, tmp_path: Path) -> None:
    with (tmp_path / "l.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(LABEL_SCHEMA), [label(1, fraud=True)])
    _, summary = objects(
        declared, write(tmp_path / "e.jsonl", event(1)), "--labels", str(tmp_path / "l.avro")
    )
    assert summary["labels"]["joined"] == 1


def test_a_limit_reads_only_the_labels_of_those_events(declared: str, tmp_path: Path) -> None:
    events = write(tmp_path / "e.jsonl", *(event(number, at=NOW + number) for number in range(20)))
    labels = write(tmp_path / "l.jsonl", *(label(number) for number in range(20)))
    _, summary = objects(declared, events, "--labels", labels, "--limit", "5")
    assert (summary["events"]["read"], summary["labels"]["read"], summary["labels"]["joined"]) == (
        5,
        5,
        5,
    )


def test_the_text_shows_some_records_the_causes_and_the_metrics(tmp_path: Path) -> None:
    write_starter("orders", tmp_path)
    shown = run(
        *(str(tmp_path / name) for name in ("orders.py", "events.jsonl")),
        "--labels",
        str(tmp_path / "labels.jsonl"),
    )
    text = shown.stdout
    assert text.startswith(
        "event      1  2025-03-03T00:04  0.500 true   log_amount=3.513 abroad=0 night=1"
    )
    assert "... 592 more, which --json shows\n" in text
    assert "events        602: 593 scored, 2 duplicates, 6 dead-lettered, 1 not sent\n" in text
    assert (
        "2 x rejected: amount is not between 0.01 and 20000\n    events in lines 42, 311. " in text
    )
    assert "model         version 571, 571 labels learned\n" in text
    rows = {line.split("  ")[0]: line.split()[-3:] for line in text.splitlines()}
    served, without = (
        list(map(float, rows[name])) for name in ("all, as served", "without a model")
    )
    assert served[0] < without[0]
    assert served[1] > 0.75 > without[1] == 0.5
    assert {"decode", "validate", "clean", "features", "predict", "learn"} <= set(
        text.splitlines()[-1].split()
    )


def test_an_exception_in_the_pipeline_is_shown_with_its_line(tmp_path: Path) -> None:
    write_starter("orders", tmp_path)
    path = tmp_path / "orders.py"
    path.write_text(path.read_text().replace('payment["amount"]', 'payment["amout"]'))
    lines = run(str(path), str(tmp_path / "events.jsonl")).stdout.splitlines()
    at = lines.index("595 x features-failed: KeyError in the feature function (orders.py:45)")
    assert lines[at + 1].startswith(
        "    events in lines 1, 2, 3, 4, 5 and 590 more. See the stack trace;"
    )
    assert lines[at + 2] == f'    | File "{path}", line 45, in features'
    assert 'log(payment["amout"])' in lines[at + 3]


def test_a_format_option_is_used_for_unknown_extensions(declared: str, tmp_path: Path) -> None:
    (tmp_path / "e.txt").write_text(f"id,at,amount,country\n1,{NOW},2.5,NL\n")
    _, summary = objects(declared, str(tmp_path / "e.txt"), "--format", "csv")
    assert summary["events"]["scored"] == 1


def test_failures_shows_only_failures(declared: str, tmp_path: Path) -> None:
    events = write(
        tmp_path / "e.jsonl", *(event(n) for n in range(50)), event(50, amount="many"), "{"
    )
    assert run(declared, events, "--failures").stdout.splitlines()[:3] == [
        "event     51  wrong-type: field amount: expected double, got string",
        "event     52  not-sent: not JSON: unexpected end of data, column 2",
        "",
    ]
    records, _ = objects(declared, events, "--failures")
    assert [found["line"] for found in records] == [51, 52]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("absent.jsonl", None, "cannot be read: No such file or directory"),
        ("e.xml", b"", "is unknown. Add --format"),
        ("e.avro", b"Obj\x01 but no more", "is not a whole Avro container file"),
        ("e.avro", b"", "is not a whole Avro container file"),
    ],
)
def test_an_unreadable_file_is_an_error(
    declared: str, tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=expected):
        run(declared, str(tmp_path / name))


def test_both_files_cannot_be_standard_input(declared: str) -> None:
    assert run(declared, "-", "--labels", "-").exit_code == 2


def test_nothing_is_written_and_no_setting_is_needed(declared: str, tmp_path: Path) -> None:
    events = write(tmp_path / "e.jsonl", event(1))
    data = tmp_path / "data"
    environment = {"STREAM_APP_DATA_DIR": str(data), "STREAM_APP_TOPICS__PARTITIONS": "wrong"}
    assert run(declared, events, env=environment).exit_code == 0
    assert not data.exists()


def test_ctrl_c_shows_the_summary_so_far(declared: str) -> None:
    with start(declared, "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sending = threading.Thread(target=_send_endlessly, args=(process.stdin,), daemon=True)
        sending.start()
        for _ in range(100):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        lines = process.stdout.read().splitlines()
        assert process.wait(20 * PATIENCE) == 130
        sending.join(20 * PATIENCE)
    summary = json.loads(lines[-1])
    assert not summary["complete"]
    assert summary["events"]["read"] == summary["events"]["scored"] == 100 + len(lines) - 1


def _send_endlessly(stdin: IO[str]) -> None:
    with suppress(BrokenPipeError):
        for number in count():
            stdin.write(json.dumps(event(number)) + "\n")
    with suppress(BrokenPipeError):
        stdin.close()


def test_ctrl_c_ends_the_wait_for_standard_input(declared: str) -> None:
    with start(declared, "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(json.dumps(event(number)) + "\n" for number in range(100)))
        process.stdin.flush()
        for _ in range(100):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20 * PATIENCE) == 130
        assert json.loads(process.stdout.read().splitlines()[-1])["events"]["read"] == 100


def test_it_ends_without_an_error_when_its_output_is_closed(declared: str, tmp_path: Path) -> None:
    events = write(tmp_path / "e.jsonl", *(event(number) for number in range(3000)))
    with start(declared, events) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stream_app", "try", *arguments, "--json"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
