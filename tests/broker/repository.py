"""A Maven repository on the loopback interface, with faults that tests switch on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha512
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stream_app.broker.java_runtime import Jar


class Repository(ThreadingHTTPServer):
    """Serves files; records each request as (path, first requested byte)."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.requests: list[tuple[str, int]] = []
        self.resumes = True
        # Number of bytes after which the next response breaks off.
        self.breaks_off_after: int | None = None

    @property
    def url(self) -> str:
        """Address of the repository."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def jars(self) -> tuple[Jar, ...]:
        """Return the lock entries of the present files."""
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
        """Log nothing."""


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
