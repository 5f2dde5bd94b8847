"""Health and metrics over HTTP, served by a thread that a blocked event loop does not affect."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from stream_app.compiled_core import core_state
from stream_app.errors import SettingsError
from stream_app.files import write_atomically
from stream_app.telemetry.metrics import READY
from stream_app.worker.run_folder import write_failed

Reasons = Callable[[], Sequence[str]]
"""Returns the reasons why the process is not ready, empty if it is."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scraper sends many requests."""


class HealthServer:
    """Server of `/metrics`, `/healthz` and `/readyz`.

    ``with HealthServer("127.0.0.1", 0, reasons=lambda: ["restoring state"]) as health: ...``

    Args:
        port: port to listen on; 0 selects a free one.
        reasons: reasons why the process is not ready.
        info: fields of every answer, such as pipeline and role.
        details: returns further fields of `/readyz`.
        registry: metrics to serve.

    Attributes:
        port: port that the server listens on.

    Raises:
        SettingsError: the port cannot be opened.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        reasons: Reasons = lambda: (),
        info: dict[str, Any] | None = None,
        details: Callable[[], dict[str, Any]] = dict,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._reasons = reasons
        self._details = details
        self._info = {"pid": os.getpid(), "core": core_state(), **(info or {})}
        self._started = time.monotonic()
        self._metrics = make_wsgi_app(registry)
        try:
            self._server = make_server(
                host, port, self._app, server_class=_Server, handler_class=_SilentHandler
            )
        except OSError as error:
            raise SettingsError(
                f"Health port {host}:{port} cannot be opened: {error.strerror}",
                "Set STREAM_APP_WORKER__HEALTH_PORT=0",
            ) from None
        self.host = host
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )
        READY.set_function(lambda: not self._reasons())

    def start(self) -> "HealthServer":
        """Start to answer requests."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def announce(self, path: Path) -> None:
        """Write pid and port to a file, atomically, for the supervisor and for `status`.

        Raises:
            StoreError: the file cannot be written, as on a full disk.
        """
        info = {**self._info, "host": self.host, "port": self.port}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(info))
        except OSError as error:
            raise write_failed(path.parent, error) from error

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            body: Iterable[bytes] = self._metrics(environ, start_response)
            return body
        status, answer = self._answer(path)
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def _answer(self, path: str) -> tuple[str, dict[str, Any]]:
        if path == "/healthz":
            uptime = round(time.monotonic() - self._started, 3)
            return "200 OK", {"status": "alive", "uptime_seconds": uptime, **self._info}
        if path == "/readyz":
            reasons = list(self._reasons())
            status = "503 Service Unavailable" if reasons else "200 OK"
            return status, {
                "ready": not reasons,
                "reasons": reasons,
                **self._details(),
                **self._info,
            }
        return "404 Not Found", {
            "error": "unknown path",
            "paths": ["/metrics", "/healthz", "/readyz"],
        }
