"""A network that can be taken away or made slow: a proxy on the loopback interface between workers and broker."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from stream_app.broker import EmbeddedBroker
from stream_app.broker.ports import HOST, free_port

CHUNK = 16 * 1024  # bytes
UNDER_WAY = 64  # chunks of a connection and direction; more wait at the sender

T = TypeVar("T")


class Proxy:
    """Carries TCP connections to a port of this machine.

    `cut` is a cable pulled out: nothing arrives any more, not even the end of a connection, and nobody is told. What
    was under way arrives after `mend`, as TCP would send it again.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._connected = asyncio.Event()
        self.mend()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, HOST, self.port))

    def cut(self) -> None:
        """Let nothing through any more."""
        self._loop.call_soon_threadsafe(self._connected.clear)

    def mend(self) -> None:
        """Let everything through again, at once."""
        self.slow(0.0, float("inf"))
        self._loop.call_soon_threadsafe(self._connected.set)

    def slow(self, delay: float, rate: float) -> None:
        """Let everything through `delay` seconds late, at most `rate` bytes a second in each direction."""
        self._delay, self._rate = delay, rate
        self._busy = [0.0, 0.0]  # until when each direction of the line is taken

    def close(self) -> None:
        """End all connections and the thread."""
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
        with suppress(OSError, asyncio.CancelledError):  # the broker is not there, or `close`
            await self._connected.wait()
            there, back = await asyncio.open_connection(HOST, self._target)
            await asyncio.gather(self._carry(reader, back, 0), self._carry(there, writer, 1))
        writer.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: int
    ) -> None:
        """One direction of one connection."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)
        receiving = asyncio.ensure_future(self._receive(reader, under_way))
        try:
            with suppress(OSError):
                await self._deliver(under_way, writer, direction)
        finally:
            receiving.cancel()
            writer.close()

    async def _receive(
        self, reader: asyncio.StreamReader, under_way: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        chunk = b"first"
        while chunk:
            try:
                chunk = await reader.read(CHUNK)
            except OSError:
                chunk = b""
            await under_way.put((self._loop.time() + self._delay, chunk))

    async def _deliver(
        self,
        under_way: "asyncio.Queue[tuple[float, bytes]]",
        writer: asyncio.StreamWriter,
        direction: int,
    ) -> None:
        while True:
            due, chunk = await under_way.get()
            free = self._busy[direction] = max(due, self._busy[direction]) + len(chunk) / self._rate
            await asyncio.sleep(max(0.0, free - self._loop.time()))
            await self._connected.wait()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()


@contextmanager
def proxied_broker(folder: Path) -> Iterator[tuple[EmbeddedBroker, Proxy]]:
    """A broker with two addresses: its own, and the proxy's, where it sends on clients that come through the proxy."""
    inner, outer, controller = free_port(), free_port(), free_port()
    proxy = Proxy(outer)
    properties = {
        "listeners": f"CLIENT://{HOST}:{inner},FAR://{HOST}:{outer},CONTROLLER://{HOST}:{controller}",
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
