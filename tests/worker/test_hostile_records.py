"""Hostile records of a foreign producer have one outcome each, and commands show them."""

from datetime import datetime
from pathlib import Path

from stream_app.broker import EmbeddedBroker
from stream_app.examples.nycflights import read_flights, timeline
from tests.faults.foreign_producer import ForeignProducer
from tests.faults.hostile_checks import (
    Visitor,
    check_outcomes_by_offset,
    json_id,
    process_ids,
)
from tests.faults.hostile_records import HostileRecords
from tests.faults.hostile_stream import (
    CLASSES,
    TIME_FIELDS,
    MixedChunks,
    ScoredFlights,
    Stream,
    any_class,
    with_classes,
)

SEED = 7
HONEST = 700
LAST = 300


def test_hostile_records_with_classes_of_any_text_have_one_outcome_each(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    items = with_classes(timeline(read_flights(datetime(2013, 1, 1), datetime(2013, 1, 3))))
    hostile = HostileRecords(SEED, TIME_FIELDS, any_class)
    chunks = MixedChunks(items[:HONEST], hostile, 1_000, LAST)
    with (
        ScoredFlights(broker, tmp_path, CLASSES) as system,
        ForeignProducer(system, SEED) as producer,
    ):
        system.start_all()
        processes = process_ids(system)
        for chunk in chunks:
            Stream((), producer, system).send(chunk)
        check_outcomes_by_offset(system, json_id)
        visitor = Visitor(system, hostile.ids)
        for words in (
            ("consume", "PIPELINE", "raw", "--until-end", "--json"),
            ("consume", "PIPELINE", "dead-letters", "--until-end"),
            ("dead-letters", "show", "PIPELINE", "--limit", "200"),
            ("explain", "PIPELINE", hostile.ids[0]),
        ):
            visitor.run(*words)
        assert process_ids(system) == processes
