"""Memory, changelog size and restore time of an event in the state: `python -m benchmarks.state`.

Measured for a month of flights before their labels arrive (`pending`) and after (`joined`).
"""

import gc
import tracemalloc
from collections.abc import Iterable
from datetime import datetime
from time import process_time

import orjson

from stream_app.core.reading.record_reader import Event, EventReader
from stream_app.core.scoring.partition_state import JoinedEvent, PartitionState, PendingPrediction
from stream_app.examples.nycflights import read_flights
from stream_app.loading import load_pipeline
from stream_app.records import Failure, Output, Record

DAY_MS = 86_400_000
Changelog = list[tuple[bytes | None, bytes | None]]


def main() -> None:
    """Prints the figures."""
    events = list(flights())
    pending = {
        event.event_id: PendingPrediction(event.event_time, 0.25, 1, event.features)
        for event in events
    }
    joined = {event.event_id: JoinedEvent(event.event_time) for event in events}
    for name, entries in (("pending", pending), ("joined", joined)):
        log = changelog(entries)
        size = sum(len(key or b"") + len(value or b"") for key, value in log)
        print(
            f"{name}: {memory(log) / len(log):,.0f} bytes of memory, "
            f"{size / len(log):,.0f} bytes of changelog, "
            f"{seconds(log) / len(log) * 1e6:.1f} us to restore, per event of {len(log):,}"
        )


def flights() -> Iterable[Event]:
    """Yields the events of a month as the scorer reads them."""
    reader = EventReader(load_pipeline("flights"))
    for flight in read_flights(datetime(2013, 1, 1), datetime(2013, 2, 1)):
        value = orjson.dumps(flight.event)
        event = reader.read(
            Record("flights.raw", 0, 0, 0, flight.event["event_id"].encode(), value), 2**53
        )
        if not isinstance(event, Failure):
            yield event


def changelog(entries: dict[str, PendingPrediction] | dict[str, JoinedEvent]) -> Changelog:
    """Returns the changelog records that the scorer writes for these entries."""
    state = PartitionState(0, DAY_MS, DAY_MS)
    outputs = [_put(state, event_id, entry) for event_id, entry in entries.items()]
    return [(output.key, output.value) for output in (*outputs, state.checkpoint())]


def _put(state: PartitionState, event_id: str, entry: PendingPrediction | JoinedEvent) -> Output:
    if isinstance(entry, JoinedEvent):
        return state.put(event_id, entry)
    return state.expect(event_id, entry.event_time, state.pack(entry))


def memory(log: Changelog) -> int:
    """Returns the bytes of memory of the restored state."""
    tracemalloc.start()
    state = PartitionState(0, DAY_MS, DAY_MS)
    state.restore((key, bytes(memoryview(value or b""))) for key, value in log)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken


def seconds(log: Changelog) -> float:
    """Returns the CPU seconds of restoring the state."""
    state, started = PartitionState(0, DAY_MS, DAY_MS), process_time()
    state.restore(log)
    return process_time() - started


if __name__ == "__main__":
    main()
