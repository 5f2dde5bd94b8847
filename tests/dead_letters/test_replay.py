"""Commands replay dead letters exactly once, and park, drop and restore them."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from stream_app.broker import EmbeddedBroker
from tests.dead_letters.replay_setup import DeadLetterSystem, renamed
from tests.kafka.test_message_headers import produce
from tests.running_system import headers
from tests.worker.test_batch_decoding import Latin1

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def running(
    broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeadLetterSystem]:
    with DeadLetterSystem(broker, tmp_path_factory.mktemp("replay"), partitions=2) as started:
        started.start_all()
        yield started


@pytest.fixture
def system(running: DeadLetterSystem) -> Iterator[DeadLetterSystem]:
    running.begin()
    yield running
    running.check_outcomes()


def test_events_with_a_renamed_field_are_fixed_replayed_and_learned(
    system: DeadLetterSystem,
) -> None:
    bad = range(system.first, system.first + 1000)
    for number in (good := range(system.first + 1000, system.first + 1200)):
        system.send_event(number, system.now + number)
    system.send_renamed(1000)
    for number in bad[::2]:
        system.send_label(number, system.now + number + 500, fraud=number % 97 > 60)
    system.await_outcomes()
    (group,) = system.select("groups")
    assert "1,000 of 1,000 would fail again: missing-field" in system.select("replay", code=19)
    planned = system.select("replay", *system.fix)
    assert (planned["done"], planned["plan"]["to_send"], planned["plan"]["would_fail"]) == (
        False,
        1000,
        {},
    )
    tried = system.select("try", *system.fix)
    assert (tried["passed"], tried["failing"], tried["model"].split()[0]) == (1000, [], "version")
    done = system.replay("--group", group["group"], *system.fix)
    expected = {"sent": 1000, "passed": 1000, "failed": {}, "duplicates": 0, "retrying": 0}
    unsettled = {"pending": 0, "expired": 0, "waiting": 0, "filtered": 0, "tombstones": 0}
    assert done == {"replay_id": done["replay_id"], **unsettled, **expected}
    for number in (*bad[1::2], *good):
        system.send_label(number, system.now + number + 500, fraud=number % 97 > 60)
    system.await_outcomes()
    assert (system.changed("scored"), system.changed("joined"), system.changed("duplicates")) == (
        1200,
        1200,
        0,
    )
    system.until(lambda: system.learned() >= 1200, 60, "not every event is learned")
    sent, scored = (
        Counter(headers(message).get("stream-app-replay-id") for message in system.read(kind))
        for kind in ("raw.replay", "scored")
    )
    assert sent[done["replay_id"]] == scored[done["replay_id"]] == 1000
    assert system.select("groups") == []
    assert "is open: 1,000 replayed" in system.select("replay", *system.fix, code=18)
    assert system.audit_entries() == [("replay", 1000, "test"), ("finish", 1000, "test")]
    (status,) = system.run("status", done["replay_id"])
    assert (status["state"], status["outcome"]["passed"], status["why"]) == ("done", 1000, "test")


def test_a_replayed_event_that_was_scored_before_is_a_duplicate(system: DeadLetterSystem) -> None:
    system.send_renamed(20)
    for number in range(system.first, system.first + 8):
        system.send_event(number, system.now + number)
    system.await_outcomes()
    done = system.replay(*system.fix)
    assert (done["sent"], done["passed"], done["duplicates"]) == (20, 12, 8)


def test_a_dead_letter_whose_header_name_is_not_utf8_is_replayed_with_escapes(
    system: DeadLetterSystem,
) -> None:
    bad = renamed(system.first, system.now)
    builder = _DefaultRecordBatchBuilderPy(2, 0, False, -1, 0, 0, 1 << 20)
    key = f"e{system.first}".encode()
    builder.append(0, system.now, key, bad, [(Latin1("näme"), b"x"), ("team", b"a")])
    topic = f"{system.name}.raw"
    asyncio.run(produce(system.servers, topic, bytes(builder.build())))
    system.sent["raw"] += 1
    system.await_outcomes()
    done = system.replay(*system.fix)
    assert (done["sent"], done["passed"]) == (1, 1)
    (replayed,) = [one for one in system.read("raw.replay") if one.key() == key]
    assert {"n\\xe4me": "x", "team": "a"}.items() <= headers(replayed).items()


@pytest.mark.faults
def test_a_replay_can_name_a_version_and_skip_learning(system: DeadLetterSystem) -> None:
    """Labels are still joined and counted. The replay is rate-limited."""
    system.send_renamed(40)
    assert "There is no model version 777777" in system.select(
        "replay", *system.fix, "--model", "777777", code=7
    )
    started = time.monotonic()
    done = system.replay(*system.fix, "--model", "0", "--no-learn", "--rate", "20")
    assert time.monotonic() - started > 2
    for number in range(system.first, system.first + 40):
        system.send_label(number, system.now + number + 500)
    system.await_outcomes()
    assert (system.changed("scored"), system.changed("joined"), system.changed("unlearned")) == (
        40,
        40,
        40,
    )
    trace = json.loads(system.command("explain", "PIPELINE", f"e{system.first}", "--json").stdout)
    assert trace["label"] == "joined; not learned: replayed with --no-learn"
    assert [one["outcome"] for one in trace["labels"]] == ["joined"]
    replayed = [
        m
        for m in system.read("scored")
        if headers(m).get("stream-app-replay-id") == done["replay_id"]
    ]
    assert {system.decode(message.value() or b"")["model"]["version"] for message in replayed} == {
        0
    }


@pytest.mark.faults
def test_events_can_be_sent_to_their_source_and_labels_go_to_the_labels_topic(
    system: DeadLetterSystem,
) -> None:
    system.send_renamed(20)
    before = len(system.read("raw.replay"))
    assert system.replay(*system.fix, "--to", "source")["passed"] == 20
    assert len(system.read("raw.replay")) == before
    number = system.first
    system.send(
        "labels",
        b'{"id": "e%d", "fraud": "yes", "known_at": %d}' % (number, system.now + number + 5),
        b"e%d" % number,
    )
    system.await_outcomes()
    (system.folder / "fix.py").write_text(
        "def fix(dead_letter):\n    return dead_letter.value.replace(b'\"yes\"', b'true')\n"
    )
    done = system.select("replay", "--source", "labels", *system.fix, "--yes", "--why", "test")[
        "outcome"
    ]
    system.sent["labels"] += 1
    assert (done["sent"], done["passed"]) == (1, 1)
    assert system.changed("joined") == 1


@pytest.mark.faults
def test_replayed_records_that_fail_again_are_open_until_they_are_parked(
    system: DeadLetterSystem,
) -> None:
    """A further dead letter keeps the origin of the first."""
    system.send_renamed(20)
    first = {
        headers(letter)["stream-app-original-offset"] for letter in system.read("raw.dlq")[-20:]
    }
    for attempt in (1, 2):
        done = system.replay("--force", "--max-failure-rate", "1", "--max-replays", "2")
        assert (done["sent"], done["failed"]) == (20, {"missing-field": 20})
        newest = [headers(letter) for letter in system.read("raw.dlq")[-20:]]
        assert {one["stream-app-replay-count"] for one in newest} == {str(attempt)}
        assert {one["stream-app-original-offset"] for one in newest} == first
        assert {one["stream-app-original-topic"] for one in newest} == {f"{system.name}.raw"}
    assert system.replay("--force", "--max-failure-rate", "1", "--max-replays", "2") is None
    assert system.audit_entries()[-1] == ("park", 20, "replayed 2 times already: test")


@pytest.mark.faults
def test_a_replay_stops_when_too_many_fail_again(system: DeadLetterSystem) -> None:
    """The dead letters that are not sent are open again."""
    system.send_renamed(1000)
    stopped = system.replay("--force", code=19)
    assert re.search(
        r"failed again \(missing-field \d+\), more than 20%; the 800 that are not sent are open",
        stopped,
    )
    system.sent["raw"] += 200
    assert system.replay(*system.fix)["passed"] == 1000
    assert [operation for operation, *_ in system.audit_entries()] == [
        "replay",
        "stop",
        "replay",
        "finish",
    ]


@pytest.mark.faults
def test_a_killed_replay_is_resumed_whatever_the_selection(system: DeadLetterSystem) -> None:
    """No other command can send its dead letters, nor with another edit; each is sent once."""
    system.send_renamed(60)
    before = len(system.read("raw.replay"))
    words = ("dead-letters", "replay", "PIPELINE", *system.fix, "--yes", "--why", "test")
    operator = system.spawn(*words, "--since", system.since, "--rate", "1")
    system.until(lambda: len(system.read("raw.replay")) > before + 2, 60, "nothing is sent")
    assert f"is sending replay {system.unfinished()}" in system.replay(*system.fix, code=8)
    operator.kill()
    operator.wait()
    left = system.unfinished()
    assert f"Resume the unfinished replay {left}" in system.replay(code=18)
    done = system.replay(*system.fix, "--until", "2100-01-01")
    assert (done["replay_id"], done["sent"], done["passed"]) == (left, 60, 60)
    assert len(system.read("raw.replay")) == before + 60
    assert system.audit_entries() == [("replay", 60, "test"), ("finish", 60, "test")]


@pytest.mark.faults
def test_parked_and_dropped_dead_letters_are_not_sent_until_they_are_restored(
    system: DeadLetterSystem,
) -> None:
    system.send("raw", b"{broken", b"x")
    system.send_renamed(10)
    assert system.select("park", "--code", "missing-field")["dead_letters"] == 10
    assert system.audit_entries() == []
    parked = system.select("park", "--code", "missing-field", "--yes", "--why", "later")
    assert (
        system.select("drop", "--code", "invalid-json", "--yes", "--why", "noise")["dead_letters"]
        == 1
    )
    assert "is open: 1 dropped, 10 parked" in system.select("replay", *system.fix, code=18)
    assert system.run("restore", parked["id"], "--yes", "--why", "now")["dead_letters"] == 10
    assert "it has been reverted" in system.run(
        "restore", parked["id"], "--yes", "--why", "x", code=18
    )
    assert system.replay(*system.fix)["passed"] == 10
    assert system.audit_entries() == [
        ("park", 10, "later"),
        ("drop", 1, "noise"),
        ("restore", 10, "now"),
        ("replay", 10, "test"),
        ("finish", 10, "test"),
    ]


@pytest.mark.faults
def test_rejected_commands_print_one_line_with_a_remedy(system: DeadLetterSystem) -> None:
    assert "No dead letter matches since" in system.select("replay", code=18)
    system.send_event(system.first, system.now - 40 * 3_600_000)
    system.send_label(system.first + 99, system.now + 10**6)
    system.send_event(system.first + 98, system.now + 10**6)
    system.send_renamed(10)
    # Twelve events, and complete labels, move the clock of each partition.
    for number in range(300, 400):
        system.send_event(system.first + number, system.now)
    system.await_outcomes()
    system.complete_labels(system.now)
    system.await_outcomes()
    system.send_event(system.first + 1, system.now - 40 * 3_600_000)
    system.await_outcomes()
    assert "No group of dead letters is abc" in system.select("replay", "--group", "abc", code=18)
    assert "--why" in system.select("replay", "--yes", code=2)
    assert "events that are too old cannot be scored" in system.select(
        "replay", "--code", "event-too-late", code=19
    )
    missing = ("replay", "--code", "missing-field", *system.fix)
    (system.folder / "fix.py").write_text("def fix(dead_letter):\n    return b'{\"id\": 1}'\n")
    assert "Edited, 10 of 10 do not fit the schema: " in system.select(*missing, "--force", code=19)
    (system.folder / "fix.py").write_text(
        "def fix(dead_letter):\n    return dead_letter.record['nothing']\n"
    )
    assert "KeyError at fix.py:2" in system.select(*missing, code=19)
    assert "There is no operation x" in system.run("status", "x", code=18)
    assert system.audit_entries() == []
