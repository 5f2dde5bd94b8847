"""Attached system whose dead letters of ingest are corrected and replayed, and the check of it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Message

from tests.attached_system import BASE, AttachedSystem, Coordinates, MadeRecord
from tests.running_system import headers

EDIT = f"""
import json

def fix(dead_letter):
    topic, partition, offset = dead_letter.ref.origin
    if topic.endswith("refunds"):
        fields = {{"order": f"x{{partition}}-{{offset}}", "ts": {BASE} + offset, "amount": 1}}
    elif topic.endswith("verdicts"):
        fields = dead_letter.record
        fields["order"] = fields["about"]
    else:
        fields = dead_letter.record
        number = fields["payment"]["ts"] - {BASE}
        if offset % 4 == 0:
            return None
        elif offset % 4 == 1:
            fields["kind"] = "quote"
        elif offset % 4 == 2:
            fields["order"]["id"] = f"o{{number + 1}}"
        else:
            fields["order"]["id"] = f"o{{number}}"
    return json.dumps(fields).encode()
"""
# What becomes of a fixed order by its offset, modulo 4: see EDIT.
FIXED_ORDERS = ("dead-lettered", "filtered", "duplicate", "scored")


class ReplayedSystem(AttachedSystem):
    """System whose verdicts may lack the order, too.

    Orders without an id, refunds that are no JSON and verdicts without an order are dead letters
    of ingest. `EDIT` makes events, labels, duplicates and filtered records of them, and skips some.
    """

    def __init__(self, servers: str, folder: Path, name: str) -> None:
        super().__init__(servers, folder, name)
        self.edit = folder / "fix.py"
        self.edit.write_text(EDIT)

    def _order(self, number: int, fields: dict[str, str]) -> Iterator[MadeRecord]:
        yield from super()._order(number, fields)
        if number % 20 == 5:
            # Of an order that is only scored once it is fixed, if ever.
            verdict = {"ts": BASE + number + 60, "fraud": True, **fields}
            yield self._made("verdicts", {"about": f"p{number}", **verdict})

    def replay_words(self, *words: str, fix: bool = True) -> list[str]:
        """Return the words of a command that replays dead letters of ingest."""
        how = ["--edit", f"{self.edit}:fix"] if fix else ["--force", "--max-failure-rate", "1"]
        chosen = ["PIPELINE", "--stage", "ingest", *how, *words]
        return ["dead-letters", "replay", *chosen, "--yes", "--why", "test"]

    def statuses(self) -> list[dict[str, Any]]:
        """Return all operations on dead letters, and their outcomes."""
        done = self.command("dead-letters", "status", "PIPELINE", "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = orjson.loads(done.stdout)
        return found

    def await_replayed(self, timeout: float) -> None:
        """Wait until all records have an outcome, replayed ones included."""
        sent = {source: len(self.sent_records(source)) for source in ("orders", "refunds")}

        def is_done() -> bool:
            found, counts = self.ingested(), self.record_counts()
            replayed = len(self.read("ingest.replay"))
            forwarded = sum(count for name, count in found.items() if name.endswith(" forwarded"))
            processed = counts.events + counts.labels
            processed -= counts.completeness + counts.label_completeness
            return (
                all(found[source] == count for source, count in sent.items())
                and found["verdicts"] == len(self.sent_records("verdicts"))
                and found["replay"] == replayed
                and processed == forwarded
            )

        self.until(is_done, timeout, f"not all of {sent} have an outcome")

    def check_replayed(self) -> Counter[str]:
        """Check that every record of the sources has one outcome; return the outcomes' numbers.

        Each time that a record was read, it had one outcome. All but the last are dead letters.
        """
        scored = Counter(
            Coordinates(**value["origin"]) for value in self.values("scored") if value["origin"]
        )
        assert max(scored.values()) == 1
        dead = _attempts(self.read("raw.dlq") + self.read("labels.dlq"))
        sent_again = _attempts(self.read("ingest.replay"))
        outcomes: Counter[str] = Counter()
        for source in ("orders", "refunds", "verdicts"):
            for place, message in self.sent_records(source).items():
                attempts = dead[place]
                assert sorted(attempts) == list(range(len(attempts))), place
                assert sorted(sent_again[place]) == list(range(1, len(sent_again[place]) + 1))
                is_dead = len(attempts) == len(sent_again[place]) + 1
                assert is_dead or len(attempts) == len(sent_again[place]), place
                assert scored[place] + is_dead <= 1, place
                expected = _expected(source, message, bool(sent_again[place]))
                if expected == "event":
                    expected = "scored" if scored[place] else "duplicate"
                    expected = "dead-lettered" if is_dead else expected
                assert (expected == "scored") == bool(scored[place]), (place, expected)
                assert (expected == "dead-lettered") == is_dead, (place, expected)
                outcomes[expected] += 1
        found, counts = self.ingested(), self.record_counts()
        ids = Counter(value["event_id"] for value in self.values("scored"))
        assert max(ids.values()) == 1
        assert outcomes["scored"] == counts.scored == len(ids)
        assert outcomes["duplicate"] == counts.duplicates
        assert outcomes["filtered"] == found["orders filtered"] + found["replay filtered"]
        assert outcomes["tombstone"] == found["orders tombstone"] + found["refunds tombstone"]
        examples = Counter(
            value["event_id"] for value in self.values("examples") if value["kind"] == "example"
        )
        assert max(examples.values()) == 1
        assert counts.joined == examples.total()
        assert counts.joined + counts.waiting == outcomes["label"]
        return outcomes


def _attempts(messages: list[Message]) -> defaultdict[Coordinates, list[int]]:
    """Return the numbers of the replays of each record of a source."""
    found: defaultdict[Coordinates, list[int]] = defaultdict(list)
    for message in messages:
        texts = headers(message)
        source, partition, offset, _ = texts["stream-app-source"].split("/")
        place = Coordinates(source, int(partition), int(offset))
        found[place].append(int(texts["stream-app-replay-count"]))
    return found


def _expected(source: str, message: Message, was_replayed: bool) -> str:
    """Return what must become of a record; an event may also fail later, or be a duplicate."""
    value = message.value()
    if value is None:
        return "tombstone"
    if source == "verdicts":
        is_whole = "order" in orjson.loads(value)
        return "label" if is_whole or was_replayed else "dead-lettered"
    if source == "refunds":
        is_whole = value != b"{broken"
        return "event" if is_whole or was_replayed else "dead-lettered"
    record = orjson.loads(value)
    if record["kind"] != "order":
        return "filtered"
    if "id" in record["order"]:
        return "event"
    return FIXED_ORDERS[(message.offset() or 0) % 4] if was_replayed else "dead-lettered"
