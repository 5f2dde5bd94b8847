"""A TCP relay to a server on loopback, which tests close and open."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit


class Gate:
    """Relays connections to a server.

    A closed gate accepts connections and sends nothing, like a server that hangs; opening and
    closing it breaks existing connections.

    Attributes:
        url: address of the server through the gate.
        connections_accepted: number of connections so far.
    """

    def __init__(self, url: str, *, is_open: bool) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{self._listener.getsockname()[1]}"))
        self.connections_accepted = 0
        self._open = is_open
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self) -> None:
        self._open = True
        self._break()

    def close(self) -> None:
        self._open = False
        self._break()

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.close()
        self._break()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections_accepted += 1
            self._connections.append(client)
            if self._open:
                server = socket.create_connection(self._target)
                self._connections.append(server)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=_relay, args=pair, daemon=True).start()

    def _break(self) -> None:
        connections, self._connections = self._connections, []
        for connection in connections:
            _end(connection)


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
