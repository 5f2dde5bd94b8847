"""Services of docker-compose.yml run as local processes with their commands and environments.

Each process gets its own host name (a UTS namespace), its own port, and folders in place of volumes
and secrets. Paths and addresses are replaced in commands, environments and files.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from platformdirs import user_cache_path

from stream_app import parent_death
from stream_app.broker.embedded import with_archive
from stream_app.broker.java_runtime import (
    MAVEN_CENTRAL,
    JarCache,
    JavaRuntime,
    find_java,
    kafka_version,
    read_lock,
)
from stream_app.broker.node import free_port
from tests.deploy.compose import DEPLOY, ROOT, Service, is_app, read_compose
from tests.patience import PATIENCE

KAFKA_PORTS = ("9092", "9093", "9094", "29092")
_RUN_WITH_HOST_NAME = (
    "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
)


class Container:
    """Process in place of a container of a service.

    Attributes:
        port: port of its /metrics, /healthz and /readyz.
    """

    def __init__(
        self, name: str, service: Service, folder: Path, replacements: dict[str, str]
    ) -> None:
        self.name = name
        self.port = free_port()
        self._service = service
        self._folder = folder
        self._replacements = {
            "127.0.0.1:8080": f"127.0.0.1:{self.port}",
            "/opt/stream-app/ready.py": str(DEPLOY / "ready.py"),
            "0.0.0.0": "127.0.0.1",
            "/data": str(folder / "data" / name),
            **replacements,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Container":
        """Runs the service's command."""
        entrypoint = self._service.get(
            "entrypoint", ["stream-app"] if is_app(self._service) else []
        )
        named = ["unshare", "--uts", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        command = [
            *named,
            sys.executable,
            "-c",
            _RUN_WITH_HOST_NAME,
            self.name,
            *self._mapped(entrypoint + self._service["command"]),
        ]
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    parent_death.__file__,
                    str(os.getpid()),
                    str(shutil.which("unshare")),
                    *command[1:],
                ],
                cwd=ROOT,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )
        return self

    def environment(self) -> dict[str, str]:
        """Returns the container's environment, and of this process only the paths of programs."""
        environment = {
            name: self.replace(value) for name, value in self._service["environment"].items()
        }
        if "STREAM_APP_WORKER__HEALTH_PORT" in environment:
            environment["STREAM_APP_WORKER__HEALTH_PORT"] = str(self.port)
        return environment | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self._folder),
        }

    def healthy(self) -> bool:
        """Return True if the service's own health check succeeds."""
        check = self._mapped(self._service["healthcheck"]["test"][1:])
        return (
            subprocess.run(
                check, env=self.environment(), capture_output=True, check=False
            ).returncode
            == 0
        )

    def await_healthy(self, timeout: float = 120.0) -> None:
        """Waits until the health check succeeds."""
        deadline = time.monotonic() + timeout * PATIENCE
        while not self.healthy():
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, (
                f"{self.name} does not become healthy:\n{self.log()}"
            )
            time.sleep(1.0)

    def await_end(self, timeout: float = 120.0) -> int:
        """Waits until the process has ended; returns its exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Kills the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        """Returns the end of its log."""
        return (self._folder / f"{self.name}.log").read_text()[-4000:]

    def replace(self, text: str) -> str:
        """Returns a text with the paths and addresses of this machine."""
        written = re.compile("|".join(map(re.escape, self._replacements)))
        return written.sub(lambda found: self._replacements[found[0]], text)

    def _mapped(self, command: list[str]) -> list[str]:
        programs = {"stream-app": [sys.executable, "-m", "stream_app"], "python": [sys.executable]}
        first, *rest = command
        return [*programs.get(first, [first]), *map(self.replace, rest)]


class Stack:
    """All services with their files below `folder`; kills its containers at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: dict[str, Service] = read_compose()["services"]
        self.containers: list[Container] = []
        self._ports = {port: str(free_port()) for port in KAFKA_PORTS}
        for name in ("models", "secrets", "kafka-data", "data"):
            (folder / name).mkdir()
        shutil.copy(DEPLOY / "secrets.sh", folder)
        subprocess.run(["sh", str(folder / "secrets.sh")], check=True)

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        for container in self.containers:
            container.kill()

    def start(self, service: str, name: str = "") -> Container:
        """Starts a container of a service."""
        container = Container(
            name or service, self.services[service], self.folder, self._replacements()
        )
        self.containers.append(container)
        return container.start()

    def start_kafka(self) -> Container:
        """Starts the Kafka service from `deploy/kafka` with the jars of the embedded broker."""
        copy = self.folder / "kafka"
        shutil.copytree(DEPLOY / "kafka", copy)
        kafka = Container("kafka", self.services["kafka"], self.folder, self._replacements())
        for file in copy.iterdir():
            text = kafka.replace(file.read_text()).replace("://kafka:", "://127.0.0.1:")
            for old, new in self._ports.items():
                text = text.replace(f":{old}", f":{new}")
            file.write_text(text)
        self._write_programs(self.folder / "opt")
        self.containers.append(kafka)
        return kafka.start()

    def _replacements(self) -> dict[str, str]:
        return {
            "kafka:9092": f"127.0.0.1:{self._ports['9092']}",
            "localhost/9092": f"127.0.0.1/{self._ports['9092']}",
            "/run/secrets": str(self.folder / "secrets"),
            "/models": str(self.folder / "models"),
            "/demo/": f"{DEPLOY}/demo/",
            "/deploy/": f"{self.folder}/kafka/",
            "/var/lib/kafka/data": str(self.folder / "kafka-data"),
            "/opt/kafka/bin": str(self.folder / "opt"),
        }

    def _write_programs(self, folder: Path) -> None:
        folder.mkdir()
        jars = read_lock()
        cache = user_cache_path("stream-app") / f"kafka-{kafka_version(jars)}"
        runtime = with_archive(
            JavaRuntime(find_java(), tuple(JarCache(cache, MAVEN_CENTRAL, jars).fetch())), cache
        )
        for script, main in {
            "kafka-storage.sh": "kafka.tools.StorageTool",
            "kafka-server-start.sh": "kafka.Kafka",
        }.items():
            command = runtime.command(main, (), log=f"{folder}/{script}.log", options=("-Xmx512m",))
            (folder / script).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            (folder / script).chmod(0o755)
