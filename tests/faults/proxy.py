"""TCP proxy between workers and broker that interrupts or slows down the network."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from stream_app.broker import EmbeddedBroker
from stream_app.broker.node import HOST, free_port

CHUNK_BYTES = 16 * 1024
# Chunks in flight per connection and direction; further ones wait at the sender.
MAX_IN_FLIGHT = 64

T = TypeVar("T")
P = TypeVar("P", bound="Proxy")


class Proxy:
    """Forwards TCP connections to a port of this machine.

    `cut` acts like an unplugged cable: nothing arrives, not even the end of a connection, and no
    peer is notified. Data in flight arrives after `restore`, as TCP retransmits it.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._connected = asyncio.Event()
        self.restore()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, HOST, self.port))

    def cut(self) -> None:
        """Interrupts the network."""
        self._loop.call_soon_threadsafe(self._connected.clear)

    def restore(self) -> None:
        """Restores the network at full speed."""
        self.slow(0.0, float("inf"))
        self._loop.call_soon_threadsafe(self._connected.set)

    def slow(self, delay: float, rate: float) -> None:
        """Slows the network down.

        Args:
            delay: additional latency in seconds.
            rate: bytes per second in each direction.
        """
        self._delay, self._rate = delay, rate
        # Time until which each direction of the network is busy.
        self._busy = [0.0, 0.0]

    def close(self) -> None:
        """Closes all connections and ends the thread."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The broker is down, or `close` was called.
        with suppress(OSError, asyncio.CancelledError):
            await self._connected.wait()
            remote_reader, remote_writer = await asyncio.open_connection(HOST, self._target)
            await asyncio.gather(
                self._forward(reader, remote_writer, 0), self._forward(remote_reader, writer, 1)
            )
        writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: int
    ) -> None:
        """Forwards one direction of a connection."""
        in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_IN_FLIGHT)
        receiving = asyncio.ensure_future(self._receive(reader, in_flight))
        try:
            with suppress(OSError):
                await self._deliver(in_flight, writer, direction)
        finally:
            receiving.cancel()
            writer.close()

    async def _receive(
        self, reader: asyncio.StreamReader, in_flight: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        chunk = b"first"
        while chunk:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                chunk = b""
            await in_flight.put((self._loop.time() + self._delay, chunk))

    async def _deliver(
        self,
        in_flight: "asyncio.Queue[tuple[float, bytes]]",
        writer: asyncio.StreamWriter,
        direction: int,
    ) -> None:
        while True:
            due, chunk = await in_flight.get()
            free = self._busy[direction] = max(due, self._busy[direction]) + len(chunk) / self._rate
            await asyncio.sleep(max(0.0, free - self._loop.time()))
            await self._connected.wait()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()


@contextmanager
def proxied_broker(folder: Path, proxy_type: type[P]) -> Iterator[tuple[EmbeddedBroker, P]]:
    """Runs a broker with a direct address, and one through the proxy for clients that use it."""
    inner, outer, controller = free_port(), free_port(), free_port()
    proxy = proxy_type(outer)
    properties = {
        "listeners": ",".join(
            (
                f"CLIENT://{HOST}:{inner}",
                f"FAR://{HOST}:{outer}",
                f"CONTROLLER://{HOST}:{controller}",
            )
        ),
        "advertised.listeners": f"CLIENT://{HOST}:{inner},FAR://{HOST}:{proxy.port}",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    broker = EmbeddedBroker(folder, port=inner, properties=properties, owned=True)
    broker.start()
    try:
        yield broker, proxy
    finally:
        broker.kill()
        proxy.close()
