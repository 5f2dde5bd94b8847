"""An identity provider: an HTTP server that issues JWTs for Kafka's unsecured handler."""

import base64
import json
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

from tests.kafka.security.authority import Identity
from tests.kafka.security.cluster import PASSWORD


class Provider:
    """Responses of the server.

    Attributes:
        lifetime: seconds of the tokens that clients with the right secret get.
        answer: status and fields sent to every client instead, if set.
    """

    def __init__(self) -> None:
        self.lifetime = 3600.0
        self.answer: tuple[int, dict[str, str]] | None = None
        self.issued: Counter[str] = Counter()
        self.forms: list[dict[str, list[str]]] = []
        self.url = ""

    def respond(self, authorization: str, form: dict[str, list[str]]) -> tuple[int, dict[str, str]]:
        """Return the status and the fields, or the headers of a redirection."""
        self.forms.append(form)
        if self.answer is not None:
            return self.answer
        client, _, secret = (
            base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        )
        if secret != PASSWORD:
            return 401, {"error": "invalid_client"}
        self.issued[client] += 1
        return 200, {"access_token": _jwt(client, self.lifetime), "expires_in": str(self.lifetime)}


@contextmanager
def serving(identity: Identity | None = None) -> Iterator[Provider]:
    """Run a provider on a free port of the loopback interface, over HTTPS with an identity."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, fields = provider.respond(self.headers.get("Authorization", ""), form)
            body = json.dumps(fields).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", fields["location"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if identity is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity.certificate, identity.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        provider.url = (
            f"{'https' if identity else 'http'}://127.0.0.1:{server.server_address[1]}/token"
        )
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()


def _jwt(subject: str, lifetime: float) -> str:
    now = time.time()
    parts = {"alg": "none"}, {"sub": subject, "iat": now - 1, "exp": now + lifetime}
    return (
        ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in parts
        )
        + "."
    )
