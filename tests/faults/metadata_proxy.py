"""TCP proxy before a broker that answers, for a time, that its cluster has no brokers."""

import asyncio
from contextlib import suppress

from stream_app.broker.node import HOST
from tests.faults.proxy import Proxy

METADATA_REQUEST = 3
# From this version on, the lists of an answer have lengths of variable size.
FLEXIBLE_VERSION = 9


class MetadataProxy(Proxy):
    """Forwards TCP connections, and hides the brokers while `hiding` is True.

    A broker that stops does so: its last answer has no brokers, and then the connection closes.

    Attributes:
        hidden: number of answers without brokers.
    """

    hiding = False
    hidden = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The broker is down, a peer has closed the connection, or `close` was called.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            remote_reader, remote_writer = await asyncio.open_connection(HOST, self._target)
            # Versions of the requests for metadata that are not answered, by correlation id.
            asked: dict[bytes, int] = {}
            requests = asyncio.ensure_future(forward_requests(reader, remote_writer, asked))
            try:
                await self._forward_answers(remote_reader, writer, asked)
            finally:
                requests.cancel()
                remote_writer.close()
        writer.close()

    async def _forward_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[bytes, int]
    ) -> None:
        while True:
            answer = await read_frame(reader)
            version = asked.pop(answer[:4], None)
            hides = self.hiding and version is not None
            if self.hiding and version is not None:
                assert version >= FLEXIBLE_VERSION
                answer = without_brokers(answer)
                self.hidden += 1
            writer.write(len(answer).to_bytes(4) + answer)
            await writer.drain()
            if hides:
                return


async def forward_requests(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[bytes, int]
) -> None:
    """Forward requests, and note those for metadata."""
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            request = await read_frame(reader)
            if int.from_bytes(request[:2]) == METADATA_REQUEST:
                asked[request[4:8]] = int.from_bytes(request[2:4])
            writer.write(len(request).to_bytes(4) + request)
            await writer.drain()
    writer.close()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return one request or answer without its length."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))


def without_brokers(answer: bytes) -> bytes:
    """Return an answer about metadata with an empty list of brokers."""
    # Correlation id, no tagged fields, throttle time.
    start = 4 + 1 + 4
    length, position = read_length(answer, start)
    for _ in range(length):
        # Id, host, port, rack, no tagged fields.
        host, position = read_length(answer, position + 4)
        rack, position = read_length(answer, position + host + 4)
        position += max(rack, 0) + 1
    return answer[:start] + b"\x01" + answer[position:]


def read_length(answer: bytes, position: int) -> tuple[int, int]:
    """Return the length of a list or text, -1 for none, and the position after it."""
    value = shift = 0
    while True:
        byte = answer[position]
        value |= (byte & 0x7F) << shift
        shift, position = shift + 7, position + 1
        if byte < 0x80:
            return value - 1, position
