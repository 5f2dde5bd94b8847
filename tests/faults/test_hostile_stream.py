"""A tenth of a live stream is hostile; it harms nothing but itself."""

import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.examples.nycflights import Item, read_flights, timeline
from tests.faults.foreign_producer import ForeignProducer
from tests.faults.hostile_avro import register_avro
from tests.faults.hostile_checks import (
    Visitor,
    check_outcomes_by_offset,
    json_id,
    process_ids,
    roc_auc,
    scores,
)
from tests.faults.hostile_records import HostileRecords
from tests.faults.hostile_stream import (
    CLASSES,
    DECLARED,
    HOSTILE,
    TIME_FIELDS,
    MixedChunks,
    ScoredFlights,
    Stream,
    any_class,
    propose_bounds,
    with_classes,
)
from tests.faults.supervision import Supervision

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SEED = int(os.environ.get("HOSTILE_SEED", "2013"))
RECORDS = int(os.environ.get("HOSTILE_RECORDS", "100000"))
AVRO_RECORDS = 10_000
# Records that are sent together.
CHUNK = 1_000
# Hostile records after the honest ones, some of them with times ahead of those.
LAST = 1_000
# A worker starts with about 170 MB.
MAX_MEMORY_BYTES = 350 * 2**20
MAX_DIFFERENCE = 0.005


def test_a_hostile_tenth_of_a_stream_harms_nothing_but_itself(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    print(f"\nseed {SEED}")
    items = flights(RECORDS)
    declared = DECLARED.replace("BOUNDS", propose_bounds(tmp_path, items[:10_000]))
    hostile = HostileRecords(SEED, TIME_FIELDS, lambda chance: chance.random() < 0.5)
    with (
        ScoredFlights(broker, tmp_path / "alone", declared) as alone,
        ScoredFlights(broker, tmp_path / "mixed", declared) as mixed,
    ):
        alone.start_roles()
        send_and_visit(mixed, MixedChunks(items, hostile, CHUNK, LAST), alone)
        check_outcomes_by_offset(mixed, json_id)
        alone.await_outcomes()
        check_outcomes_by_offset(alone, json_id)
        labels = [
            (record["event_id"], record["late"])
            for kind, _, record in items
            if kind == "labels" and record["event_id"] not in hostile.touched
        ]
        without, beside = (roc_auc(scores(one), labels) for one in (alone, mixed))
        print(f"ROC AUC of {len(labels):,} flights {beside:.4f}, without the others {without:.4f}")
        assert abs(without - beside) < MAX_DIFFERENCE


def test_a_hostile_tenth_of_avro_records_with_classes_of_any_text_has_one_outcome_each(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    print(f"\nseed {SEED}")
    registry = tmp_path / "registry"
    registry.mkdir()
    with ScoredFlights(
        broker, tmp_path / "avro", CLASSES, STREAM_APP_REGISTRY__URL=registry.as_uri()
    ) as system:
        avro = register_avro(str(system.pipeline), registry, SEED)
        hostile = HostileRecords(SEED, TIME_FIELDS, any_class, avro.encode)
        items = with_classes(flights(AVRO_RECORDS))
        send_and_visit(system, MixedChunks(items, hostile, CHUNK, LAST, avro.encode_valid))
        check_outcomes_by_offset(system, avro.event_id)


def flights(records: int) -> list[Item]:
    """Returns the honest records of a stream of so many records."""
    found = timeline(read_flights(datetime(2013, 1, 1), datetime(2013, 3, 10)))
    return found[: (records - LAST) * (HOSTILE - 1) // HOSTILE]


def send_and_visit(mixed: ScoredFlights, chunks: MixedChunks, *alone: ScoredFlights) -> None:
    """Sends everything while commands run; no worker may end or exceed its memory."""
    mixed.start_roles()
    processes = process_ids(mixed)
    started = time.monotonic()
    visitor = Visitor(mixed, chunks.hostile.ids)
    with (
        Supervision(mixed) as supervision,
        ForeignProducer(mixed, SEED) as producer,
        Stream(chunks, producer, mixed, *alone) as stream,
    ):
        while stream.is_alive() or not visitor.rounds:
            visitor.visit()
            assert not supervision.exits, supervision.report()
        assert stream.failure is None, stream.failure
        counts = mixed.await_outcomes()
        print(f"{mixed.sent.total():,} records in {time.monotonic() - started:.0f} s: {counts}")
        print(f"{supervision.report()}; {visitor.rounds} rounds of commands")
        assert process_ids(mixed) == processes
        assert not supervision.exits
        assert max(supervision.peak.values()) < MAX_MEMORY_BYTES
