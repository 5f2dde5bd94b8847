"""Dead letters are sent again, each once: the story of a renamed field, and everything that is refused."""

import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from stream_app.broker import EmbeddedBroker
from tests.dead_letters.replay_setup import Desk
from tests.running_system import headers

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def running(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Desk(broker, tmp_path_factory.mktemp("desk"), partitions=2) as desk:
        desk.start_all()
        yield desk


@pytest.fixture
def desk(running: Desk) -> Iterator[Desk]:
    running.begin()
    yield running
    running.check_outcomes()


def test_the_story_of_a_renamed_field(desk: Desk) -> None:
    bad = range(desk.first, desk.first + 1000)
    for number in (good := range(desk.first + 1000, desk.first + 1200)):
        desk.send_event(number, desk.now + number)
    desk.send_renamed(1000)
    for number in bad[::2]:
        desk.send_label(number, desk.now + number + 500, fraud=number % 97 > 60)
    desk.settle()
    (group,) = desk.select("groups")
    assert "1,000 of 1,000 would fail again: missing-field" in desk.select("replay", code=19)
    planned = desk.select("replay", *desk.mend)
    assert (planned["done"], planned["plan"]["sending"], planned["plan"]["would_fail"]) == (
        False,
        1000,
        {},
    )
    tried = desk.select("try", *desk.mend)
    assert (tried["passed"], tried["failing"], tried["model"].split()[0]) == (1000, [], "version")
    done = desk.replay("--group", group["group"], *desk.mend)
    assert {**done, "replay": ""} == {
        "replay": "", "sent": 1000, "passed": 1000, "failed": {}, "duplicates": 0, "retrying": 0, "pending": 0,
    }  # fmt: skip
    for number in (*bad[1::2], *good):
        desk.send_label(number, desk.now + number + 500, fraud=number % 97 > 60)
    desk.settle()
    assert (desk.changed("scored"), desk.changed("joined"), desk.changed("duplicates")) == (
        1200,
        1200,
        0,
    )
    desk.until(lambda: desk.learned() >= 1200, 60, "not every event is learned")
    sent, scored = (
        Counter(headers(message).get("replay-id") for message in desk.read(kind))
        for kind in ("raw.replay", "scored")
    )
    assert sent[done["replay"]] == scored[done["replay"]] == 1000
    assert desk.select("groups") == []
    assert "is open: 1,000 replayed" in desk.select("replay", *desk.mend, code=18)
    assert desk.audits() == [("replay", 1000, "test"), ("finish", 1000, "test")]
    (status,) = desk.act("status", done["replay"])
    assert (status["state"], status["outcome"]["passed"], status["why"]) == ("done", 1000, "test")


def test_what_was_scored_meanwhile_is_a_counted_duplicate(desk: Desk) -> None:
    desk.send_renamed(20)
    for number in range(desk.first, desk.first + 8):
        desk.send_event(number, desk.now + number)
    desk.settle()
    done = desk.replay(*desk.mend)
    assert (done["sent"], done["passed"], done["duplicates"]) == (20, 12, 8)


@pytest.mark.faults
def test_a_version_scores_without_learning(desk: Desk) -> None:
    """The labels are joined all the same, and counted; at a rate."""
    desk.send_renamed(40)
    assert "There is no model version 777777" in desk.select(
        "replay", *desk.mend, "--model", "777777", code=7
    )
    started = time.monotonic()
    done = desk.replay(*desk.mend, "--model", "0", "--no-learn", "--rate", "20")
    assert time.monotonic() - started > 2
    for number in range(desk.first, desk.first + 40):
        desk.send_label(number, desk.now + number + 500)
    desk.settle()
    assert (desk.changed("scored"), desk.changed("joined"), desk.changed("unlearned")) == (
        40,
        40,
        40,
    )
    replayed = [m for m in desk.read("scored") if headers(m).get("replay-id") == done["replay"]]
    assert {desk.decode(message.value() or b"")["model"]["version"] for message in replayed} == {0}


@pytest.mark.faults
def test_letters_go_to_their_source_and_labels_to_the_labels(desk: Desk) -> None:
    desk.send_renamed(20)
    before = len(desk.read("raw.replay"))
    assert desk.replay(*desk.mend, "--to", "source")["passed"] == 20
    assert len(desk.read("raw.replay")) == before
    number = desk.first
    desk.send(
        "labels",
        b'{"id": "e%d", "fraud": "yes", "known_at": %d}' % (number, desk.now + number + 5),
        b"e%d" % number,
    )
    desk.settle()
    (desk.folder / "mend.py").write_text(
        "def mend(letter):\n    return letter.value.replace(b'\"yes\"', b'true')\n"
    )
    done = desk.select("replay", "--source", "labels", *desk.mend, "--yes", "--why", "test")[
        "outcome"
    ]
    desk.sent["labels"] += 1
    assert (done["sent"], done["passed"]) == (1, 1)
    assert desk.changed("joined") == 1


@pytest.mark.faults
def test_what_fails_again_is_open_again_until_it_is_parked(desk: Desk) -> None:
    """It says where it was first."""
    desk.send_renamed(20)
    first = {headers(letter)["original-offset"] for letter in desk.read("raw.dlq")[-20:]}
    for turn in (1, 2):
        done = desk.replay("--force", "--relapse", "1", "--most", "2")
        assert (done["sent"], done["failed"]) == (20, {"missing-field": 20})
        newest = [headers(letter) for letter in desk.read("raw.dlq")[-20:]]
        assert {one["replay-count"] for one in newest} == {str(turn)}
        assert {one["original-offset"] for one in newest} == first
        assert {one["original-topic"] for one in newest} == {f"{desk.name}.raw"}
    assert desk.replay("--force", "--relapse", "1", "--most", "2") is None
    assert desk.audits()[-1] == ("park", 20, "sent 2 times already: test")


@pytest.mark.faults
def test_a_replay_stops_when_too_many_fail_again(desk: Desk) -> None:
    """What is not sent then is open again."""
    desk.send_renamed(1000)
    stopped = desk.replay("--force", code=19)
    assert re.search(
        r"failed again \(missing-field \d+\), more than 20%; the 800 that are not sent are open",
        stopped,
    )
    desk.sent["raw"] += 200
    assert desk.replay(*desk.mend)["passed"] == 1000
    assert [what for what, *_ in desk.audits()] == ["replay", "stop", "replay", "finish"]


@pytest.mark.faults
def test_a_killed_replay_goes_on_by_whatever_words(desk: Desk) -> None:
    """Nobody else can send its letters meanwhile, nor with another edit, and each is sent once."""
    desk.send_renamed(60)
    before = len(desk.read("raw.replay"))
    words = ("dead-letters", "replay", "PIPELINE", *desk.mend, "--yes", "--why", "test")
    operator = desk.spawn(*words, "--since", desk.since, "--rate", "1")
    desk.until(lambda: len(desk.read("raw.replay")) > before + 2, 60, "nothing is sent")
    assert f"is sending replay {desk.unfinished()}" in desk.replay(*desk.mend, code=8)
    operator.kill()
    operator.wait()
    left = desk.unfinished()
    assert f"Go on with the unfinished replay {left}" in desk.replay(code=18)
    done = desk.replay(*desk.mend, "--until", "2100-01-01")
    assert (done["replay"], done["sent"], done["passed"]) == (left, 60, 60)
    assert len(desk.read("raw.replay")) == before + 60
    assert desk.audits() == [("replay", 60, "test"), ("finish", 60, "test")]


@pytest.mark.faults
def test_parked_and_dropped_letters_are_not_sent_until_they_are_restored(desk: Desk) -> None:
    desk.send("raw", b"{broken", b"x")
    desk.send_renamed(10)
    assert desk.select("park", "--code", "missing-field")["letters"] == 10
    assert desk.audits() == []
    parked = desk.select("park", "--code", "missing-field", "--yes", "--why", "later")
    assert desk.select("drop", "--code", "invalid-json", "--yes", "--why", "noise")["letters"] == 1
    assert "is open: 1 dropped, 10 parked" in desk.select("replay", *desk.mend, code=18)
    assert desk.act("restore", parked["id"], "--yes", "--why", "now")["letters"] == 10
    assert "it has been taken back" in desk.act(
        "restore", parked["id"], "--yes", "--why", "x", code=18
    )
    assert desk.replay(*desk.mend)["passed"] == 10
    assert desk.audits() == [
        ("park", 10, "later"),
        ("drop", 1, "noise"),
        ("restore", 10, "now"),
        ("replay", 10, "test"),
        ("finish", 10, "test"),
    ]


@pytest.mark.faults
def test_refusals_are_one_line_with_what_to_do(desk: Desk) -> None:
    assert "No dead letter fits since" in desk.select("replay", code=18)
    desk.send_event(desk.first, desk.now - 40 * 3_600_000)
    desk.send_label(desk.first + 99, desk.now + 10**6)  # which waits
    desk.send_event(desk.first + 98, desk.now + 10**6)
    desk.send_renamed(10)
    desk.send_event(desk.first + 1, desk.now - 40 * 3_600_000)
    desk.settle()
    assert "No group of dead letters is abc" in desk.select("replay", "--group", "abc", code=18)
    assert "--why" in desk.select("replay", "--yes", code=2)
    assert "Too old ones cannot be scored" in desk.select(
        "replay", "--code", "event-too-late", code=19
    )
    missing = ("replay", "--code", "missing-field", *desk.mend)
    (desk.folder / "mend.py").write_text("def mend(letter):\n    return b'{\"id\": 1}'\n")
    assert "Edited, 10 of 10 do not fit the schema: " in desk.select(*missing, "--force", code=19)
    (desk.folder / "mend.py").write_text("def mend(letter):\n    return letter.record['nothing']\n")
    assert "KeyError at mend.py:2" in desk.select(*missing, code=19)
    assert "There is no act x" in desk.act("status", "x", code=18)
    assert desk.audits() == []
