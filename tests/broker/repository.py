"""A Maven repository on the loopback interface that can be told to misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha512
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stream_app.broker.jars import Jar


class Repository(ThreadingHTTPServer):
    """Serves `files`; remembers each request as (path, first byte asked for)."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.requests: list[tuple[str, int]] = []
        self.resumes = True
        self.breaks_off_after: int | None = None  # bytes of the next answer only

    @property
    def url(self) -> str:
        """The repository's address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def jars(self) -> tuple[Jar, ...]:
        """The lock of what is served now."""
        return tuple(
            Jar(path, sha512(body).hexdigest(), len(body)) for path, body in self.files.items()
        )


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.server.requests.append((path, start))
        if path not in self.server.files:
            self.send_error(404)
            return
        body = self.server.files[path]
        start = start if self.server.resumes else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: self.server.breaks_off_after])
        self.server.breaks_off_after = None

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Repository]:
    """Serve `files` until the block ends."""
    with Repository(files) as repository:
        thread = threading.Thread(target=repository.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield repository
        finally:
            repository.shutdown()
            thread.join()
