"""Digest of all records that a pipeline writes for one mixed stream, to compare two builds.

`python -m benchmarks.digest run OUT` plays the stream through a real broker and real workers and
writes one file per topic. `compare BEFORE AFTER --renamed FILE` applies the renames of FILE to
BEFORE and reports every difference. The stream is sent in stages, one input at a time, so that the
outcomes do not depend on timing. Values from the wall clock are masked. `--app` is the `stream-app`
of the build to run.
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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

HOUR_MS = 3_600_000
# Event time of the first event in Unix milliseconds.
START_MS = 1_700_000_000_000
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
    """Yields the stages of the stream; each holds records of one topic kind."""
    rng = random.Random(7)
    number = 0
    for stage in range(STAGES):
        first, events, labels, early = number, list[Sent](), list[Sent](), list[Sent]()
        for _ in range(EVENTS_PER_STAGE):
            at = START_MS + number * 60_000
            events.append(_event(f"e{number}", at, rng))
            events += _odd_events(number, at, rng)
            label = _label(f"e{number}", at + HOUR_MS * rng.randrange(0, 30), rng.random() < 0.3)
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
        (key.encode(), orjson.dumps({**base, "at": START_MS - 40 * 24 * HOUR_MS}), []),
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
    known = f"e{rng.randrange(first, number + 1)}"
    odd = [
        _label(f"unknown{number}", at, True),
        _label(known, at + 2 * HOUR_MS, True),
        ("labels", b"x", b"nonsense", []),
        ("labels", known.encode(), orjson.dumps({"id": known, "fraud": 1, "known_at": at}), []),
        ("labels", known.encode(), None, []),
    ]
    return [rng.choice(odd)] if rng.random() < 0.04 else []


class Build:
    """Build under test: its commands, its own broker, and a pipeline.

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
        """Returns the environment variables of commands and workers."""
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
        """Runs a command and returns its standard output; exits if it fails."""
        result = subprocess.run(
            [self._app, *arguments],
            cwd=self._folder,
            env=self.environment(),
            capture_output=True,
            timeout=180,
            check=False,
        )
        if result.returncode:
            stderr = result.stderr.decode()[-2000:]
            sys.exit(f"{arguments} failed with exit code {result.returncode}: {stderr}")
        return result.stdout

    def send(self, records: list[Sent]) -> None:
        """Sends a stage."""
        for kind, key, value, headers in records:
            self._producer.produce(f"{NAME}.{kind}", value, key, 0, headers=headers)
            self._producer.poll(0)
        self._producer.flush()

    def worker(self, role: str) -> subprocess.Popen[bytes]:
        """Starts a worker."""
        with (self._folder / f"{role}.log").open("ab") as log:
            return subprocess.Popen(
                [self._app, "worker", "digest.py", "--role", role],
                cwd=self._folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )

    def drain(self, group: str, kinds: tuple[str, ...], seconds: float = 120.0) -> None:
        """Waits until a group has committed the ends of its inputs, then for two idle seconds."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": f"{NAME}.{group}"})
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            inputs = [TopicPartition(f"{NAME}.{kind}", 0) for kind in kinds]
            ends = [consumer.get_watermark_offsets(partition, 10)[1] for partition in inputs]
            committed = consumer.committed(inputs, 10)
            # A topic written in transactions ends in a marker, which no consumer commits.
            if all(c.offset >= e - 1 or e == 0 for c, e in zip(committed, ends, strict=True)):
                consumer.close()
                time.sleep(2)
                return
            time.sleep(0.2)
        log = (self._folder / f"{group}.log").read_text()[-2000:]
        sys.exit(f"{group} did not reach the end of {kinds}: {committed} of {ends}\n{log}")

    def await_records(self, kind: str, seconds: float = 60.0) -> None:
        """Waits until a topic has records."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "digest-reader"})
        deadline = time.monotonic() + seconds
        while consumer.get_watermark_offsets(TopicPartition(f"{NAME}.{kind}", 0), 10)[1] == 0:
            if time.monotonic() > deadline:
                sys.exit(f"topic {kind} is still empty after {seconds:.0f} s")
            time.sleep(0.2)
        consumer.close()

    def topics(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the committed records of every topic of the pipeline."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": "digest-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        known = consumer.list_topics(timeout=10).topics
        names = sorted(name for name in known if name.startswith(f"{NAME}."))
        records = {name: list(_read(consumer, name)) for name in names}
        consumer.close()
        return records

    def stop(self) -> None:
        """Stops the broker."""
        self.command("broker", "stop", "--data-dir", str(self._folder / "kafka"))


def _read(consumer: Consumer, topic: str) -> Iterator[dict[str, Any]]:
    """Yields the records of a topic with one partition."""
    consumer.assign([TopicPartition(topic, 0, 0)])
    while (message := consumer.poll(10)) is not None and not message.error():
        yield {
            "key": _text(message.key()),
            "value": _text(message.value()),
            "headers": [[k, _text(v)] for k, v in message.headers() or ()],
        }


def _text(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode("utf-8", "backslashreplace")
    return parsed if isinstance(parsed, dict | list) else content.decode()


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)


def run(app: str, out: Path, pause: str) -> None:
    """Plays the stream through a build and writes each topic to a JSON lines file in `out`.

    Args:
        app: path of the build's `stream-app`.
        out: folder of the results.
        pause: name of the `learning` command that pauses learning in this build.
    """
    folder = Path(tempfile.mkdtemp(prefix="digest-")) / "run"
    build = Build(app, folder)
    try:
        _play(build, pause)
        out.mkdir(parents=True, exist_ok=True)
        for name, records in build.topics().items():
            lines = [orjson.dumps(record, option=orjson.OPT_SORT_KEYS) for record in records]
            (out / f"{name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
            print(f"{name}: {len(records)} records")
    finally:
        build.stop()
        shutil.rmtree(folder.parent)


def _play(build: Build, pause: str) -> None:
    """Runs the roles one after the other over the stages of the stream."""
    learner = build.worker("learn")
    build.await_records("models")
    # Version 0 is served while all events are scored.
    _stop(learner)
    scorer = build.worker("score")
    for stage in stream():
        build.send(stage)
        build.drain("score", ("raw", "labels"))
    _stop(scorer)
    learner = build.worker("learn")
    build.drain("learn", ("examples",))
    for command in (pause, "resume"):
        build.command("learning", command, "digest.py", "--why", "digest")
        build.drain("learn", ("examples",))
    _stop(learner)
    monitor = build.worker("monitor")
    build.drain("monitor", ("scored", "examples", "watermarks"))
    _stop(monitor)


# Offsets of examples, and therefore version numbers, depend on the number of transactions.
OFFSETS = re.compile(r"^(version|parent|offset|examples|first|last)$")
LEARNER_TOPICS = ("audit", "learn.state", "models", "monitoring")
# Watermarks, and so the closing of these windows, depend on the number of transactions.
MONITOR_KINDS = ("volume", "coverage", "delay", "drift")
Renames = Mapping[str, Mapping[str, str]]
"""Old to new names of one topic's `fields`, `headers`, `values` and `keys` (patterns)."""

CLOCK = re.compile(
    r"^(scored_at|created_at|at"
    r"|(stream-app-)?(error-first-failed-at|error-last-failed-at|error-stacktrace|original-timestamp)"
    r"|(stream-app-)?(schema-version|app-version)"
    r"|signature|key_id|sha256|size|fingerprint|decided_at|who|id"
    r"|seconds|since|first_at|last_at|time)$"
)
STAMP = re.compile(r"\b20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*\+00:00\b")


def masked(node: Any, renames: Renames, offsets: bool = False) -> Any:
    """Returns a record with current names and without values of the wall clock or the machine."""
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
    """Returns one comparable line for a record."""
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
    """Returns the comparable lines of every topic, of a state topic the newest of each key."""
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
    """Prints the digest of every topic and its first differences.

    Args:
        before: results of the older build.
        after: results of the newer build.
        renamed: JSON file with the renames between them.
        shown: number of differences to print for each topic.

    Returns:
        The number of topics that differ.
    """
    old = load(before, orjson.loads(renamed.read_bytes()))
    new = load(after, {})
    different = 0
    for name in sorted(old | new):
        left, right = old.get(name, []), new.get(name, [])
        digest = hashlib.sha256(b"\n".join(right)).hexdigest()[:16]
        result = "equal" if left == right else "DIFFERENT"
        different += left != right
        print(f"{result:9} {name:24} {len(left):6} {len(right):6} {digest}")
        pairs = [pair for pair in zip(left, right, strict=False) if pair[0] != pair[1]]
        for one, two in pairs[:shown]:
            print(f"  - {one.decode()[:1500]}\n  + {two.decode()[:1500]}")
    return different


def main() -> None:
    """Runs one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="write the topics of a build to a folder")
    runner.add_argument("out", type=Path)
    runner.add_argument("--app", default=str(Path(sys.executable).with_name("stream-app")))
    runner.add_argument("--pause", default="pause", help="name of the command that pauses learning")
    comparer = commands.add_parser("compare", help="compare the results of two builds")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    comparer.add_argument("--renamed", type=Path, default=Path(__file__).with_name("renamed.json"))
    comparer.add_argument("--shown", type=int, default=2, help="differences shown per topic")
    options = parser.parse_args()
    if options.command == "run":
        run(options.app, options.out, options.pause)
    elif compare(options.before, options.after, options.renamed, options.shown):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
