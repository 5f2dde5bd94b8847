"""Real Prometheus: the installed one, or Debian's package unpacked into the user's cache."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from filelock import FileLock
from platformdirs import user_cache_path

from stream_app.broker.node import free_port
from tests.patience import PATIENCE

PROGRAMS = ("prometheus", "promtool")


def find_programs() -> Path:
    """Returns the folder of `prometheus` and `promtool`; the first call downloads 30 MB."""
    found = [shutil.which(program) for program in PROGRAMS]
    if found[0] and found[1] and Path(found[0]).parent == Path(found[1]).parent:
        return Path(found[0]).parent
    folder = user_cache_path("stream-app") / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "debian").exists():
            _fetch(folder)
    return folder / "debian" / "usr" / "bin"


def _fetch(folder: Path) -> None:
    """Downloads and unpacks the package without root, with package lists of its own."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise AssertionError(
            "these tests require Prometheus: install `prometheus` and `promtool` (2.42 or newer)"
        )
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    options = {
        "Dir::State": f"{work}/state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": f"{work}/cache",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }
    apt = ["apt-get", "--quiet", *(f"--option={name}={value}" for name, value in options.items())]
    run([*apt, "update"], folder=work)
    run([*apt, "download", "prometheus"], folder=work)
    package = next(work.glob("prometheus_*.deb"))
    run(["dpkg-deb", "--extract", package.name, "unpacked"], folder=work)
    (work / "unpacked").rename(folder / "debian")
    shutil.rmtree(work)


def run(command: list[str], *, folder: Path | None = None, given: bytes | None = None) -> str:
    """Runs a program that must succeed; returns its output."""
    result = subprocess.run(
        command,
        cwd=folder,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert result.returncode == 0, f"{command}:\n{result.stdout.decode()}"
    return result.stdout.decode()


class Prometheus:
    """Client of a running server."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        """Return True if the server is ready."""
        try:
            with urlopen(f"{self._address}/-/ready", timeout=60):
                return True
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Returns the present series of an expression."""
        data = self._get(f"query?query={quote(expression)}")
        return list(data["result"])

    def alerts(self) -> dict[str, str]:
        """Returns the state, pending or firing, of each active alert."""
        return {
            alert["labels"]["alertname"]: alert["state"] for alert in self._get("alerts")["alerts"]
        }

    def rules(self) -> list[dict[str, Any]]:
        """Returns every rule with its last evaluation."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> Any:
        with urlopen(f"{self._address}/api/v1/{path}", timeout=60) as response:
            return json.load(response)["data"]


@contextmanager
def running_prometheus(config: Path, data: Path) -> Iterator[Prometheus]:
    """Runs a server with this configuration."""
    port = free_port()
    command = [
        str(find_programs() / "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with data.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
        )
    try:
        server = Prometheus(port)
        deadline = time.monotonic() + 30 * PATIENCE
        while not server.ready():
            assert process.poll() is None, data.with_suffix(".log").read_text()
            assert time.monotonic() < deadline, "Prometheus does not become ready"
            time.sleep(0.1)
        yield server
    finally:
        process.kill()
        process.wait()
