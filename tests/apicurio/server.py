"""Apicurio Registry, downloaded once per user, in memory and on free loopback ports."""

import re
import shutil
import tarfile
import time
from pathlib import Path

import psutil
from filelock import FileLock

from stream_app.broker.java_runtime import JarCache, find_java, read_lock
from stream_app.broker.process import is_alive, kill, spawn
from stream_app.settings import Settings
from tests.patience import PATIENCE

_LOCK = Path(__file__).with_name("archive.lock")
_API = "/apis/ccompat/v7"  # Confluent's
_LISTENING = re.compile(r"Listening on: (http://127\.0\.0\.1:\d+)\.")
# It takes four seconds on an idle machine.
_START_SECONDS = 180.0 * PATIENCE
_POLL_SECONDS = 0.05

_OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Xmx192m",
    "-Dquarkus.http.host=127.0.0.1",
    "-Dquarkus.http.port=0",
    "-Dquarkus.management.host=127.0.0.1",
    "-Dquarkus.management.port=0",
)


class Apicurio:
    """Running registry that ends at the latest with this process.

    Attributes:
        url: address of its Confluent API, for `STREAM_APP_REGISTRY__URL`.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / "apicurio.log"
        command = [str(find_java()), *_OPTIONS, "-jar", str(installed() / "quarkus-run.jar")]
        self._process: psutil.Process = spawn(command, folder=folder, output=self._log, owned=True)
        self.url = self._await_url()

    def kill(self) -> None:
        """Kills the registry; its schemas are lost."""
        kill(self._process)

    def _await_url(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while (listening := _LISTENING.search(self._log.read_text(errors="replace"))) is None:
            if not is_alive(self._process) or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"Apicurio did not start: {self._log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(_POLL_SECONDS)
        return listening[1] + _API


def installed() -> Path:
    """Returns the folder of the program, after downloading it (159 MB) if necessary."""
    (archive,) = read_lock(_LOCK)
    cache = Settings().cache_dir / "apicurio"
    program = cache / archive.sha512[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "install.lock"):
        if not program.exists():
            jars = JarCache(
                cache / "archive",
                Settings().broker.repository,
                (archive,),
                name="Apicurio Registry",
            )
            (file,) = jars.fetch()
            _unpack(file, program)
            shutil.rmtree(cache / "archive")
    return program


def _unpack(archive: Path, folder: Path) -> None:
    partial = folder.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as content:
        content.extractall(partial, filter="data")
    partial.rename(folder)
