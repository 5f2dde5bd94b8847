"""HTTP server with scripted responses, like a registry that fails."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.kafka.security.authority import Identity


class Answer(NamedTuple):
    """Response with a body of bytes or JSON after a delay; status 0 closes the connection."""

    status: int = 200
    body: Any = b""
    seconds: float = 0.0


class Server(ThreadingHTTPServer):
    """Gives its answers in turn, the last one repeatedly; records path and headers of requests."""

    daemon_threads = True

    def __init__(self, answers: tuple[Answer, ...], identity: Identity | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stopping = threading.Event()
        if identity is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(identity.certificate, identity.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if identity else 'http'}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect, which the tests cause on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = (
            self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        )
        self.server.stopping.wait(answer.seconds)
        if answer.status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def answering(*answers: Answer, identity: Identity | None = None) -> Iterator[Server]:
    """Run a server on a free loopback port, with TLS if it has an identity."""
    with Server(answers, identity) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()
