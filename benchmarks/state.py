"""Memory, changelog size and restore time of an event in the state: `python -m benchmarks.state`.

Measured for a month of flights before their labels arrive (`pending`), after (`joined`), and mixed
with a share of 20 % and 80 % of them joined. The changelog is the one that a scorer writes, after
compaction.
"""

import gc
import tracemalloc
from collections.abc import Iterable
from datetime import datetime
from time import process_time

import orjson

from benchmarks.restore_process import Changelog, changelog
from stream_app.compiled_core import core_state
from stream_app.core.reading.record_reader import Event, EventReader
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.examples.nycflights import read_flights
from stream_app.loading import load_pipeline
from stream_app.records import Failure, Record

DAY_MS = 86_400_000


def main() -> None:
    """Prints the figures."""
    print(f"core: {core_state()}")
    events = [(event.event_id, event.event_time, event.features) for event in flights()]
    for name, share in (("pending", 0.0), ("joined", 1.0), ("20 % joined", 0.2), ("80 %", 0.8)):
        log = changelog(events, share)
        size = sum(len(key or b"") + len(value or b"") for key, value in log)
        print(
            f"{name}: {memory(log) / len(events):,.0f} bytes of memory, "
            f"{size / len(events):,.0f} bytes of changelog in {len(log):,} records, "
            f"{seconds(log) / len(events) * 1e6:.1f} us to restore, per event of {len(events):,}"
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
