"""Dead letters of ingest are fixed, tried and replayed, each once, with the promised outcomes."""

from collections import Counter
from pathlib import Path

import orjson
import pytest
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.errors import ReplayError, SelectionError
from stream_app.kafka.clients import make_admin
from tests.replayed_sources import ReplayedSystem
from tests.running_system import headers
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker


def test_dead_letters_of_ingest_are_replayed_through_it(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Events and labels; twice; with options; and after their topic was recreated."""
    with ReplayedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.send_orders(400)
        system.start_all(2)
        system.start("ingest")
        system.await_sources(120)
        fix = ("--stage", "ingest", "--edit", f"{system.edit}:fix")
        _check_listed(system)
        # Nothing has changed: all would fail again.
        refused = system.command("dead-letters", "replay", "PIPELINE", "--stage", "ingest")
        assert refused.returncode == ReplayError.exit_code
        assert "60 of 60 would fail again" in refused.stderr
        tried = _json(system, "dead-letters", "try", "PIPELINE", *fix)
        orders = Counter(
            (message.offset() or 0) % 4
            for message in system.sent_records("orders").values()
            if message.value() and b'"order":{"buyer"' in message.value()
        )
        assert orders.total() == 20
        assert (tried["evaluated"], tried["labels"], tried["filtered"]) == (60, 20, orders[1])
        # That an event is a duplicate, only a scorer knows.
        assert tried["passed"] == 20 + orders[2] + orders[3]
        assert (tried["skipped"], tried["failing"]) == (orders[0], [])
        failing = _json(system, *system.replay_words("--source", "raw", fix=False))
        assert _outcome(failing) == {
            "sent": 40,
            "failed": {"missing-field": 20, "invalid-json": 20},
        }
        # The topic of the refunds is recreated: their dead letters have all that is needed.
        _recreate(system, "refunds")
        refunds = _json(
            system,
            *system.replay_words("--where", "topic.endswith('refunds')", "--no-learn"),
            "--replay-id",
            "refunds-1",
        )
        assert _outcome(refunds) == {"sent": 20, "passed": 20}
        replayed = [headers(one) for one in system.read("raw.replay")]
        assert len(replayed) == 20
        assert {one["stream-app-replay-learn"] for one in replayed} == {"no"}
        before = len(system.read("raw"))
        done = _json(system, *system.replay_words())
        assert (done["plan"]["to_send"], done["plan"]["skipped"]) == (40 - orders[0], orders[0])
        assert done["plan"]["left_out"] == {"filtered": orders[1]}
        # Their verdicts wait for orders that never come: p25 is no order.
        assert _outcome(done) == {
            "sent": 40 - orders[0],
            "passed": orders[3],
            "duplicates": orders[2],
            "filtered": orders[1],
            "waiting": 20,
        }
        assert len(system.read("raw")) >= before + orders[2] + orders[3]
        again = system.command(*system.replay_words("--where", "topic.endswith('refunds')"))
        assert again.returncode == SelectionError.exit_code
        statuses = _json(system, "dead-letters", "status", "PIPELINE")
        assert [one["state"] for one in statuses] == ["done"] * 3
        assert statuses[2]["outcome"]["filtered"] == orders[1]
        # What the scorer rejects again is a dead letter in the trace, too.
        system.command(
            *("dead-letters", "replay", "PIPELINE", "--code", "wrong-type", "--force"),
            *("--max-failure-rate", "1", "--yes", "--why", "test"),
        )
        trace = _json(system, "explain", "PIPELINE", "o7")
        assert [one["outcome"] for one in trace["events"]] == ["dead-lettered"] * 2


@pytest.mark.faults
def test_a_replay_says_what_does_not_run(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Without an ingest worker the records wait, and the same command resumes later."""
    with ReplayedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.send_orders(40)
        system.start_all()
        system.start("ingest")
        system.await_sources(90)
        system.terminate("ingest-0")
        stalled = system.command(*system.replay_words())
        assert stalled.returncode == ReplayError.exit_code
        assert "wait for ingest, and none was read" in stalled.stderr
        assert "--role ingest" in stalled.stderr
        status = system.command("status", "PIPELINE", "--json")
        inputs = orjson.loads(status.stdout)["inputs"]
        waiting = [one for one in inputs if one["topic"] == f"{system.name}.ingest.replay"]
        assert sum(one["lag_records"] > 0 for one in waiting) > 0
        doctor = " ".join(system.command("doctor", "PIPELINE").stdout.split())
        assert "no ingest worker runs, and" in doctor
        system.start("ingest")
        resumed = _json(system, *system.replay_words())
        assert resumed["outcome"]["pending"] == 0
        assert resumed["outcome"]["sent"] >= 4
        system.await_replayed(90)
        system.check_replayed()


def _json(system: ReplayedSystem, *words: str):  # type: ignore[no-untyped-def]
    done = system.command(*words, "--json")
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


def _outcome(document: dict[str, dict[str, object]]) -> dict[str, object]:
    """Return the outcomes that are not zero."""
    outcome = document["outcome"]
    return {
        name: value
        for name, value in outcome.items()
        if name != "replay_id" and value not in (0, {})
    }


def _recreate(system: ReplayedSystem, source: str) -> None:
    """Delete the topic of a source and create it again while ingest is stopped."""
    topic = system.topic(source)
    system.terminate("ingest-0")
    admin = make_admin(system.settings)
    admin.delete_topics([topic])[topic].result(60)
    system.until(lambda: topic not in admin.list_topics(timeout=60).topics, 30, "not deleted")
    admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(60)
    system.start("ingest")


def _check_listed(system: ReplayedSystem) -> None:
    """Check that lists do not pass the key of a source off as the key of the pipeline."""
    listed = system.command("dead-letters", "list", "PIPELINE", "--stage", "ingest", "--json")
    found = [orjson.loads(line) for line in listed.stdout.splitlines()]
    assert {one["origin"]["topic"] for one in found} == {
        system.topic(source) for source in ("orders", "refunds", "verdicts")
    }
    assert {(one["key"], one["event_id"]) for one in found} == {(None, None)}
    assert "x" in {one["source_key"] for one in found}
    text = system.command("dead-letters", "list", "PIPELINE", "--key", "x").stdout
    assert "  key in the source x  invalid-json" in text
    name = found[0]["error_id"]
    shown = system.command("dead-letters", "show", "PIPELINE", "--id", name).stdout
    assert "key in the source: " in shown
