"""The data folder of a broker: what lies where, its configuration, its first formatting, its start."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage, rmtree
from subprocess import STDOUT, run
from types import MappingProxyType
from uuid import uuid4

import psutil

from stream_app.broker.broker_errors import disk_errors, disk_full
from stream_app.broker.java import JavaRuntime
from stream_app.broker.process import java_environment, spawn
from stream_app.broker.server_properties import server_properties
from stream_app.broker.start_failure import failed

_NEEDED = 64 * 1024 * 1024  # bytes that must be free
_TOPICS = "topics"
_NEW_TOPICS = "topics.new"


@dataclass(frozen=True, slots=True)
class Node:
    """A data folder. `properties` win over the broker's own settings; `heap` is Java's, e.g. 512m."""

    folder: Path
    properties: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    heap: str = "512m"

    @property
    def state_file(self) -> Path:
        """Who serves this folder, and where."""
        return self.folder / "broker.json"

    @property
    def config_file(self) -> Path:
        """The broker's configuration, by which its process is also recognised."""
        return self.folder / "server.properties"

    @property
    def log_file(self) -> Path:
        """Kafka's own log."""
        return self.folder / "logs" / "server.log"

    @property
    def output_file(self) -> Path:
        """What the process wrote to standard output and error since its last start."""
        return self.folder / "logs" / "start.log"

    def make_folders(self) -> None:
        """Create what is missing, and see that there is room. Errors: `DiskError`."""
        with disk_errors(self.folder):
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            if disk_usage(self.folder).free < _NEEDED:
                raise disk_full(self.folder)

    def launch(
        self, runtime: JavaRuntime, port: int, controller_port: int, *, owned: bool = False
    ) -> psutil.Process:
        """Configure, format if new, and start the broker; return its process. Errors: `BrokerError`."""
        with disk_errors(self.folder):
            rmtree(self.folder / "tmp", ignore_errors=True)
            (self.folder / "tmp").mkdir()
            if not (self.folder / _TOPICS / "meta.properties").exists():
                self._configure(port, controller_port, _NEW_TOPICS)
                self._format(runtime)
            self._configure(port, controller_port, _TOPICS)
            command = self._command(runtime, "kafka.Kafka", str(self.config_file))
            return spawn(command, folder=self.folder, output=self.output_file, owned=owned)

    def _configure(self, port: int, controller_port: int, topics: str) -> None:
        self.config_file.write_text(
            server_properties(port, controller_port, topics, self.properties)
        )

    def _format(self, runtime: JavaRuntime) -> None:
        """Format beside the final place and move there, so that a folder is formatted wholly or not at all."""
        rmtree(self.folder / _NEW_TOPICS, ignore_errors=True)
        arguments = (
            "format",
            "--standalone",
            "--cluster-id",
            _cluster_id(),
            "--config",
            str(self.config_file),
        )
        command = self._command(runtime, "kafka.tools.StorageTool", *arguments)
        with self.output_file.open("wb") as output:
            done = run(
                command,
                cwd=self.folder,
                env=java_environment(),
                stdout=output,
                stderr=STDOUT,
                check=False,
            )
        if done.returncode:
            raise failed(
                self.folder, self.output_file.read_text(errors="replace"), self.output_file
            )
        (self.folder / _NEW_TOPICS).rename(self.folder / _TOPICS)

    def _command(self, runtime: JavaRuntime, main: str, *arguments: str) -> list[str]:
        options = (f"-Xmx{self.heap}", f"-Djava.io.tmpdir={self.folder / 'tmp'}")
        return runtime.command(main, arguments, log=str(self.log_file), options=options)


def _cluster_id() -> str:
    """A random id as Kafka writes them: 22 characters, of which the first is not a dash."""
    return urlsafe_b64encode(uuid4().bytes).decode().rstrip("=").replace("-", "_")
