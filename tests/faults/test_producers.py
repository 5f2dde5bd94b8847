"""`produce` delivers every record of its files while the broker fails again and again."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.settings import Settings
from stream_app.transfer.produce import ProduceSummary, produce_file
from tests.faults.freezing import freeze
from tests.faults.run import ROUNDS
from tests.faults.test_outages import kill, stop
from tests.small_pipeline import small_pipeline
from tests.transfer.clusters import new_topics, read, settings_for

PRODUCERS = 6
RECORDS = 500
RATE = 200.0


def send_files(
    settings: Settings, name: str, folder: Path, number: int, done: Event
) -> list[tuple[float, ProduceSummary]]:
    """Send one file after the other; return the duration and the summary of each."""
    found: list[tuple[float, ProduceSummary]] = []
    while not done.is_set():
        file = folder / f"{number}-{len(found)}.jsonl"
        ids = (f"{number}-{len(found)}-{record}" for record in range(RECORDS))
        file.write_bytes(b"".join(orjson.dumps({"id": one}) + b"\n" for one in ids))
        started = time.monotonic()
        summary = produce_file(settings, small_pipeline(name), str(file), rate=RATE)
        found.append((time.monotonic() - started, summary))
    return found


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", [stop, kill, freeze])
def test_files_are_delivered_through_every_fault_of_the_broker(
    own_broker: EmbeddedBroker, tmp_path: Path, fault: Callable[[EmbeddedBroker], None]
) -> None:
    settings = settings_for(own_broker)
    name, done = new_topics(settings), Event()
    with ThreadPoolExecutor(PRODUCERS) as pool:
        sending = [
            pool.submit(send_files, settings, name, tmp_path, number, done)
            for number in range(PRODUCERS)
        ]
        try:
            for _ in range(ROUNDS):
                # Within a file, not while a producer starts.
                time.sleep(2)
                fault(own_broker)
                time.sleep(6)
        finally:
            done.set()
        sent = [one for producer in sending for one in producer.result(200)]
    assert {(one.produced, one.failed, one.unconfirmed) for _, one in sent} == {(RECORDS, 0, 0)}
    arrived = [message.key() for message in read(settings, name, "raw")]
    assert len(arrived) == len(set(arrived)) == RECORDS * len(sent)
    print(f"\n{len(sent)} files of {RECORDS / RATE:.1f} s, the slowest {max(sent)[0]:.1f} s")
