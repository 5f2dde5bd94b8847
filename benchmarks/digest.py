"""Digest of everything that a pipeline writes for one mixed stream, to compare two builds of the product.

`python -m benchmarks.digest run OUT` plays the stream through a real broker and real workers and writes one
file per topic; `compare BEFORE AFTER --renamed FILE` applies the renames of FILE to BEFORE and reports every
difference. The stream is staged, one input at a time, so that the outcomes do not depend on timing; values
taken from the wall clock are masked. `--app` names the `stream-app` of the build to run.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

HOUR = 3_600_000
START = 1_700_000_000_000  # event time of the first event, Unix milliseconds
EVENTS_PER_STAGE, STAGES = 2_000, 6
NAME = "digest"
PIPELINE = '''
"""Payments of the digest."""

from datetime import timedelta

from river import linear_model, preprocessing

from stream_app import Label, Pipeline
from stream_app.cleaning import Clip, Impute

TIME = {"type": "long", "logicalType": "timestamp-millis"}


def features(payment):
    if payment["amount"] == 13.0:
        raise ValueError(f"unlucky amount {payment['amount']}")
    return {"amount": payment["amount"], "domestic": payment["country"] == "NL"}


def model():
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


pipeline = Pipeline(
    name="digest",
    schema={
        "type": "record",
        "name": "Payment",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "at", "type": TIME},
            {"name": "amount", "type": "double"},
            {"name": "country", "type": ["null", "string"], "default": None},
        ],
    },
    event_id="id",
    event_time="at",
    clean=(Impute("country", "NL"), Clip("amount", 0.0, 500.0)),
    features=features,
    model=model,
    label=Label(
        schema={
            "type": "record",
            "name": "Fraud",
            "fields": [
                {"name": "id", "type": "string"},
                {"name": "fraud", "type": "boolean"},
                {"name": "known_at", "type": TIME},
            ],
        },
        field="fraud",
        time="known_at",
        horizon=timedelta(hours=24),
        allowed_lateness=timedelta(hours=6),
    ),
    window=timedelta(hours=6),
    untrained="allowed",
    publish_features=True,
)
'''

Sent = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Topic kind, key, value and headers of a record to send."""


def stream() -> Iterator[list[Sent]]:
    """Yield the stages of the stream; each holds records of one topic kind."""
    rng = random.Random(7)
    number = 0
    for stage in range(STAGES):
        first, events, labels, early = number, list[Sent](), list[Sent](), list[Sent]()
        for _ in range(EVENTS_PER_STAGE):
            at = START + number * 60_000
            events.append(_event(f"e{number}", at, rng))
            events += _odd_events(number, at, rng)
            label = _label(f"e{number}", at + HOUR * rng.randrange(0, 30), rng.random() < 0.3)
            (early if rng.random() < 0.05 else labels).append(label)
            labels += _odd_labels(number, first, at, rng)
            number += 1
        yield early
        yield events
        yield [record for record in labels if rng.random() < 0.9 or stage % 2]


def _event(key: str, at: int, rng: random.Random) -> Sent:
    country = rng.choice(["NL", "DE", "FR", None])
    fields = {"id": key, "at": at, "amount": round(rng.expovariate(0.02), 2), "country": country}
    headers = [("traceparent", f"00-{at:032x}-{at:016x}-01".encode())] if rng.random() < 0.1 else []
    return "raw", key.encode(), orjson.dumps(fields), headers


def _odd_events(number: int, at: int, rng: random.Random) -> list[Sent]:
    key = f"o{number}"
    base = {"id": key, "at": at, "amount": 20.0, "country": "NL"}
    odd: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (key.encode(), b"{not json", []),
        (key.encode(), b"[1, 2]", []),
        (key.encode(), b"\xff\xfe", []),
        (key.encode(), None, []),
        (None, orjson.dumps(base), []),
        (b"other-key", orjson.dumps(base), []),
        (key.encode(), orjson.dumps({**base, "amount": "20"}), []),
        (key.encode(), orjson.dumps({**base, "amount": 13.0}), [("source", b"till 4")]),
        (key.encode(), orjson.dumps({**base, "at": "yesterday"}), []),
        (key.encode(), orjson.dumps({**base, "at": START - 40 * 24 * HOUR}), []),
        (key.encode(), orjson.dumps({name: base[name] for name in ("id", "at")}), []),
        (key.encode(), orjson.dumps({**base, "colour": "red"}), []),
        (b"e%d" % number, orjson.dumps({**base, "id": f"e{number}"}), []),
        (key.encode(), b"\0\0\0\0\x07" + b"\x02", []),
    ]
    return [("raw", *rng.choice(odd))] if rng.random() < 0.08 else []


def _label(key: str, known_at: int, fraud: bool) -> Sent:
    fields = {"id": key, "fraud": fraud, "known_at": known_at}
    return "labels", key.encode(), orjson.dumps(fields), []


def _odd_labels(number: int, first: int, at: int, rng: random.Random) -> list[Sent]:
    again = f"e{rng.randrange(first, number + 1)}"
    odd = [
        _label(f"unknown{number}", at, True),
        _label(again, at + 2 * HOUR, True),
        ("labels", b"x", b"nonsense", []),
        ("labels", again.encode(), orjson.dumps({"id": again, "fraud": 1, "known_at": at}), []),
        ("labels", again.encode(), None, []),
    ]
    return [rng.choice(odd)] if rng.random() < 0.04 else []


class Build:
    """A build of the product under test: its commands, a broker of its own, and a pipeline.

    Args:
        app: path of the build's `stream-app`.
        folder: scratch folder; must not exist.
    """

    def __init__(self, app: str, folder: Path) -> None:
        self._app = app
        self._folder = folder
        folder.mkdir(parents=True)
        (folder / "digest.py").write_text(PIPELINE)
        started = self.command("broker", "start", "--data-dir", str(folder / "kafka"), "--json")
        self.servers = orjson.loads(started)["bootstrap_servers"]
        self.command("topics", "create", "digest.py")
        self._producer = Producer({"bootstrap.servers": self.servers, "enable.idempotence": True})

    def environment(self) -> dict[str, str]:
        servers = getattr(self, "servers", None)
        return os.environ | {
            "STREAM_APP_DATA_DIR": str(self._folder / "data"),
            "STREAM_APP_TOPICS__PARTITIONS": "1",
            "STREAM_APP_LEARN__PUBLISH_SECONDS": "3600",
            "STREAM_APP_LEARN__PUBLISH_EXAMPLES": "2000",
            "STREAM_APP_LEARN__PUBLISH_SHARE": "1",
            **({"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": servers} if servers else {}),
        }

    def command(self, *arguments: str) -> bytes:
        """Run a command to its end and return its standard output."""
        done = subprocess.run(
            [self._app, *arguments],
            cwd=self._folder,
            env=self.environment(),
            capture_output=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{arguments} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
        return done.stdout

    def send(self, records: list[Sent]) -> None:
        """Send a stage."""
        for kind, key, value, headers in records:
            self._producer.produce(f"{NAME}.{kind}", value, key, 0, headers=headers)
            self._producer.poll(0)
        self._producer.flush()

    def worker(self, role: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        with (self._folder / f"{role}.log").open("ab") as log:
            return subprocess.Popen(
                [self._app, "worker", "digest.py", "--role", role],
                cwd=self._folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )

    def drain(self, group: str, kinds: tuple[str, ...], seconds: float = 120.0) -> None:
        """Wait until a group has committed the ends of its inputs, then until it has been idle."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": f"{NAME}-{group}"})
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            places = [TopicPartition(f"{NAME}.{kind}", 0) for kind in kinds]
            ends = [consumer.get_watermark_offsets(place, 10)[1] for place in places]
            committed = consumer.committed(places, 10)
            # A topic written in transactions ends in a marker, which is never committed.
            if all(c.offset >= e - 1 or e == 0 for c, e in zip(committed, ends, strict=True)):
                consumer.close()
                time.sleep(2)
                return
            time.sleep(0.2)
        log = (self._folder / f"{group}.log").read_text()[-2000:]
        sys.exit(f"{group} did not reach the end of {kinds}: {committed} of {ends}\n{log}")

    def await_records(self, kind: str, seconds: float = 60.0) -> None:
        """Wait until a topic has records."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "digest-reader"})
        until = time.monotonic() + seconds
        while consumer.get_watermark_offsets(TopicPartition(f"{NAME}.{kind}", 0), 10)[1] == 0:
            if time.monotonic() > until:
                sys.exit(f"{kind} stayed empty")
            time.sleep(0.2)
        consumer.close()

    def topics(self) -> dict[str, list[dict[str, Any]]]:
        """Return the committed records of every topic of the pipeline."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": "digest-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        names = sorted(
            t for t in consumer.list_topics(timeout=10).topics if t.startswith(f"{NAME}.")
        )
        found: dict[str, list[dict[str, Any]]] = {}
        for name in names:
            consumer.assign([TopicPartition(name, 0, 0)])
            found[name] = []
            while True:
                message = consumer.poll(10)
                if message is None or message.error():
                    break
                found[name].append(
                    {
                        "key": _text(message.key()),
                        "value": _text(message.value()),
                        "headers": [[k, _text(v)] for k, v in message.headers() or ()],
                    }
                )
        consumer.close()
        return found

    def stop(self) -> None:
        """Stop the broker."""
        self.command("broker", "stop", "--data-dir", str(self._folder / "kafka"))


def _text(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode("utf-8", "backslashreplace")
    return parsed if isinstance(parsed, dict | list) else content.decode()


def end(worker: subprocess.Popen[bytes]) -> None:
    """Stop a worker cleanly."""
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)


def run(app: str, out: Path, pause: str) -> None:
    """Play the stream through a build and write its topics to `out`, one JSON lines file each."""
    folder = Path(tempfile.mkdtemp(prefix="digest-")) / "run"
    build = Build(app, folder)
    try:
        learner = build.worker("learn")
        build.await_records("models")
        end(learner)  # version 0 is served while everything is scored
        scorer = build.worker("score")
        for stage in stream():
            build.send(stage)
            build.drain("score", ("raw", "labels"))
        end(scorer)
        learner = build.worker("learn")
        build.drain("learn", ("examples",))
        build.command("learning", pause, "digest.py", "--why", "digest")
        build.drain("learn", ("examples",))
        build.command("learning", "resume", "digest.py", "--why", "digest")
        build.drain("learn", ("examples",))
        end(learner)
        monitor = build.worker("monitor")
        build.drain("monitor", ("scored", "examples"))
        end(monitor)
        out.mkdir(parents=True, exist_ok=True)
        for name, records in build.topics().items():
            lines = [orjson.dumps(record, option=orjson.OPT_SORT_KEYS) for record in records]
            (out / f"{name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
            print(f"{name}: {len(records)} records")
    finally:
        build.stop()
        shutil.rmtree(folder.parent)


# The offsets of examples, and so the numbers of versions, depend on how many transactions were written.
OFFSETS = re.compile(r"^(version|parent|offset|examples|first|last)$")
LEARNER_TOPICS = ("audit", "learn.state", "models", "monitoring")
# When the monitor closes a window depends on the order in which it reads its inputs.
MONITOR_KINDS = ("volume", "coverage", "delay", "drift")
Renames = Mapping[str, Mapping[str, str]]
"""Old to new names of one topic's `fields`, `headers`, `values` and `keys` (patterns)."""

CLOCK = re.compile(
    r"^(scored_at|created_at|at|error-first-failed-at|error-last-failed-at|error-stacktrace|original-timestamp"
    r"|signature|key_id|sha256|size|fingerprint|schema-version|app-version|decided_at|who|id"
    r"|seconds|since|first_at|last_at|time)$"
)
STAMP = re.compile(r"\b20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*\+00:00\b")


def masked(node: Any, renames: Renames, offsets: bool = False) -> Any:
    """Return a record with today's names and without what the wall clock or the machine has given."""
    if isinstance(node, dict):
        fields = renames.get("fields", {})
        return {
            fields.get(name, name): "*"
            if (CLOCK.match(name) and not isinstance(content, dict | list))
            or (offsets and OFFSETS.match(name))
            else masked(content, renames, offsets)
            for name, content in node.items()
        }
    if isinstance(node, list):
        return [masked(item, renames, offsets) for item in node]
    if isinstance(node, str):
        return STAMP.sub("*", renames.get("values", {}).get(node, node))
    if isinstance(node, int) and str(node) in renames.get("values", {}):
        return int(renames["values"][str(node)])
    if isinstance(node, int) and 1_780_000_000_000 < node < 2_000_000_000_000:
        return "*"
    return node


def canonical(record: dict[str, Any], renames: Renames, offsets: bool) -> bytes:
    """Return one comparable line for a record."""
    headers = renames.get("headers", {})
    lines = [
        [headers.get(n, n), "*" if CLOCK.match(n) else masked(c, renames)]
        for n, c in record["headers"]
    ]
    key = record["key"] if isinstance(record["key"], str) else orjson.dumps(record["key"]).decode()
    for old, new in renames.get("keys", {}).items():
        key = re.sub(old, new, key)
    key = re.sub(r"\d{13}", "*", re.sub(r"^version/\d+", "version/*", key))
    return orjson.dumps(
        {"key": key, "value": masked(record["value"], renames, offsets), "headers": lines},
        option=orjson.OPT_SORT_KEYS,
    )


def load(folder: Path, renames: Mapping[str, Renames]) -> dict[str, list[bytes]]:
    """Return the comparable lines of every topic; of state topics, the newest record of each key."""
    found = {}
    for file in sorted(folder.glob("*.jsonl")):
        records = [orjson.loads(line) for line in file.read_bytes().split(b"\n") if line]
        name = file.stem
        if name.endswith(".state"):
            newest: dict[str, dict[str, Any]] = {}
            for record in records:
                newest[str(record["key"])] = record
            records = [newest[key] for key in sorted(newest)]
        if name.endswith(".monitoring"):
            records = [r for r in records if r["value"].get("kind") not in MONITOR_KINDS]
        kind = name.split(".", 1)[1]
        offsets = kind in LEARNER_TOPICS
        found[name] = [canonical(record, renames.get(kind, {}), offsets) for record in records]
    found.pop(f"{NAME}.monitor.state", None)
    return found


def compare(before: Path, after: Path, renamed: Path, shown: int) -> int:
    """Print the digest of every topic and the first differences; return the number of topics that differ."""
    old = load(before, orjson.loads(renamed.read_bytes()))
    new = load(after, {})
    different = 0
    shown_of: Counter[str] = Counter()
    for name in sorted(old | new):
        one, two = old.get(name, []), new.get(name, [])
        digest = hashlib.sha256(b"\n".join(two)).hexdigest()[:16]
        equal = one == two
        different += not equal
        print(f"{'equal' if equal else 'DIFFERENT':9} {name:24} {len(one):6} {len(two):6} {digest}")
        for left, right in zip(one, two, strict=False):
            if left != right and shown_of[name] < shown:
                shown_of[name] += 1
                print(f"  - {left.decode()[:1500]}\n  + {right.decode()[:1500]}")
    return different


def main() -> None:
    """Run or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("out", type=Path)
    one.add_argument("--app", default=str(Path(sys.executable).with_name("stream-app")))
    one.add_argument("--pause", default="pause", help="name of the command that pauses learning")
    two = commands.add_parser("compare")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    two.add_argument("--renamed", type=Path, default=Path(__file__).with_name("renamed.json"))
    two.add_argument("--shown", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.app, arguments.out, arguments.pause)
    else:
        raise SystemExit(
            1
            if compare(arguments.before, arguments.after, arguments.renamed, arguments.shown)
            else 0
        )


if __name__ == "__main__":
    main()
