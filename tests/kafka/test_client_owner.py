"""A Kafka client is closed by the thread that calls it, or after that thread has let go of it."""

from collections.abc import Callable
from threading import Event, Thread

import pytest
from confluent_kafka import Producer

from stream_app.kafka.clients import ClientOwner
from stream_app.kafka.partition_reader import PartitionReader

CONFIG = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
CLOSES = [ClientOwner.close, ClientOwner.close_in_background]


class CallerThread:
    """Thread that calls a client and then waits, as if it were still in the call."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._end, called = Event(), Event()

        def run() -> None:
            call()
            called.set()
            self._end.wait(10)

        self._thread = Thread(target=run, name="caller")
        self._thread.start()
        assert called.wait(10)

    def end(self) -> None:
        self._end.set()
        self._thread.join()


@pytest.mark.parametrize("close", CLOSES)
def test_a_client_is_not_closed_while_another_thread_calls_it(
    close: Callable[[ClientOwner[Producer]], None],
) -> None:
    owner = ClientOwner(Producer(CONFIG))
    caller = CallerThread(lambda: owner.client.poll(0))
    with pytest.raises(RuntimeError, match="that the thread caller calls"):
        close(owner)
    caller.end()
    close(owner)
    close(owner)
    with pytest.raises(RuntimeError, match="closed"):
        _ = owner.client


@pytest.mark.parametrize("close", CLOSES)
def test_a_client_that_was_handed_over_is_closed_by_any_thread(
    close: Callable[[ClientOwner[Producer]], None],
) -> None:
    owner = ClientOwner(Producer(CONFIG))

    def call() -> None:
        owner.client.poll(0)
        owner.hand_over()

    caller = CallerThread(call)
    close(owner)
    caller.end()


def test_a_reader_is_not_closed_while_another_thread_reads() -> None:
    reader = PartitionReader(CONFIG)
    caller = CallerThread(lambda: reader.poll(0))
    with pytest.raises(RuntimeError, match="that the thread caller calls"):
        reader.close()
    caller.end()
    reader.close()
