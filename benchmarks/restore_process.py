"""Process of `benchmarks.restore`: restores a state once for each line of its input.

It runs with the package of any commit since the state has packed predictions.
"""

import gc
import random
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib import import_module
from time import process_time
from typing import Any

from benchmarks.peers.work import numbers
from stream_app.examples.nycflights import read_flights
from stream_app.records import Features

DAY_MS = 86_400_000
# Events between two commits, as at high load.
TRANSACTION_EVENTS = 1000

# By name, because an earlier commit has other classes in them.
partition_state: Any = import_module("stream_app.core.scoring.partition_state")
state_codec: Any = import_module("stream_app.core.scoring.state_codec")
# Earlier origins also say that no record key follows.
ORIGIN_FIELDS = ("0123456789abcdef", 0.5, "raw", False)
ORIGIN: Any = (
    state_codec.PredictionOrigin(*ORIGIN_FIELDS[: len(state_codec.PredictionOrigin._fields)])
    if hasattr(state_codec, "PredictionOrigin")
    else None
)

Changelog = list[tuple[bytes | None, bytes | None]]
"""Keys and values, oldest first."""

Known = tuple[str, int, Features]
"""Id, time in Unix milliseconds and features of an event."""


def main() -> None:
    """Writes the changelog; then prints the CPU seconds of a restore for each line of input."""
    count, share = int(sys.argv[1]), int(sys.argv[2]) / 100
    log = changelog(events(count), share)
    # As in a worker.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    for _ in sys.stdin:
        state, started = partition_state.PartitionState(0, DAY_MS, DAY_MS), process_time()
        state.restore(log)
        seconds = process_time() - started
        if len(state.entries) != count:
            sys.exit(f"restored {len(state.entries):,} of {count:,} events")
        print(seconds, flush=True)


def changelog(events: Iterable[Known], share: float) -> Changelog:
    """Returns the compacted changelog of events, a share of which have their label."""
    state, chosen = partition_state.PartitionState(0, DAY_MS, DAY_MS), random.Random(1)
    newest: dict[bytes | None, bytes | None] = {}
    times: dict[str, int] = {}
    for offset, (event_id, event_time, features) in enumerate(events):
        times[event_id] = event_time
        packed = state.pack(prediction(event_time, features, offset))
        write(newest, state.expect(event_id, event_time, packed))
        write(newest, *(full(state)))
        if offset % TRANSACTION_EVENTS == 0:
            write(newest, *complete(state))
    write(newest, *complete(state))
    for event_id, event_time in times.items():
        if chosen.random() < share:
            write(newest, state.put(event_id, joined(event_time)))
    write(newest, *complete(state))
    return list(newest.items())


def events(count: int) -> Iterator[Known]:
    """Yields id, time and features of flights, repeated under new ids."""
    flights = read_flights(datetime(2013, 1, 1), datetime(2014, 1, 1))
    for number in range(count):
        lap, position = divmod(number, len(flights))
        flight = flights[position]
        yield f"{flight.event['event_id']}-{lap}", flight.event_time_ms, numbers(flight.event)


def write(newest: dict[bytes | None, bytes | None], *outputs: Any) -> None:
    """Adds records to a compacted changelog: each key is at the place of its newest record."""
    for output in outputs:
        for record in output if isinstance(output, list) else [output]:
            newest.pop(record.key, None)
            newest[record.key] = record.value


# The interfaces of the state have changed; what an earlier one lacks is not called.


def prediction(event_time: int, features: Features, offset: int) -> Any:
    """Returns a pending prediction."""
    if hasattr(state_codec, "PredictionOrigin"):
        return state_codec.PendingPrediction(event_time, 0.25, 1, features, ORIGIN, offset)
    return partition_state.PendingPrediction(event_time, 0.25, 1, features)


def joined(event_time: int) -> Any:
    """Returns the entry of an event that has its label."""
    return partition_state.JoinedEvent(event_time)


def full(state: Any) -> list[Any]:
    """Returns the records of predictions that are enough for a block."""
    return list(state.full_blocks()) if hasattr(state, "full_blocks") else []


def complete(state: Any) -> list[Any]:
    """Returns the records that complete a transaction."""
    return list(state.final_records()) if hasattr(state, "final_records") else [state.checkpoint()]


if __name__ == "__main__":
    main()
