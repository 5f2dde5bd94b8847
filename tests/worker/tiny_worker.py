"""Replacement of `stream-app worker` that starts fast and behaves as an environment variable says.

TINY is `ready` (answers /readyz), `stubborn` (also ignores SIGTERM) or `exit:<code>`.
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


def main(arguments: list[str]) -> None:
    behaviour = os.environ["TINY"]
    name = (
        f"{arguments[arguments.index('--role') + 1]}-{arguments[arguments.index('--instance') + 1]}"
    )
    with (Path(os.environ["TINY_FOLDER"]) / "starts").open("a") as starts:
        starts.write(f"{name} {time.monotonic()}\n")
    if behaviour.startswith("exit:"):
        os._exit(int(behaviour.removeprefix("exit:")))
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = HTTPServer(("127.0.0.1", 0), Ready)
    run_file = Path(os.environ["TINY_FOLDER"]) / "run" / "tiny" / f"{name}.json"
    run_file.parent.mkdir(parents=True, exist_ok=True)
    run_file.write_text(
        json.dumps({"pid": os.getpid(), "host": "127.0.0.1", "port": server.server_port})
    )
    server.serve_forever()


if "worker" in sys.orig_argv:
    main(sys.orig_argv)
