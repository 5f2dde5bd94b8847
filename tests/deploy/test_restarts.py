"""Isolation, keys and identity survive a restart, wherever a container keeps what they need.

The workers of docker-compose.yml run as processes with its commands, settings and mounts. Whatever
is not mounted is emptied at each restart; a container that is created again loses the volumes
without a name as well.
"""

import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.deploy.compose import Service, read_compose
from tests.forked_process import WorkerProcess, start_process
from tests.patience import PATIENCE
from tests.running_system import ROOT, System
from tests.small_pipeline import HOUR
from tests.worker.poison import DECLARED, SEGFAULT, EventBatches, messages

PIPELINE = "/pipelines/payments.py"


class Container:
    """Service of docker-compose.yml as a process; container paths are below a folder.

    Args:
        root: folder with one folder for each volume and for each container.
    """

    def __init__(self, name: str, service: Service, root: Path, system: System) -> None:
        self.name = name
        self._service = service
        self._root = root
        self._system = system
        self.starts = 0
        self._process: WorkerProcess | None = None

    @property
    def log(self) -> str:
        """Everything that the container has written."""
        return (self._root / f"{self.name}.log").read_text()

    def host_path(self, path: str) -> Path:
        """Return where a path of the container is: on a volume, or in the container itself."""
        for volume in sorted(self._service["volumes"], key=len, reverse=True):
            source, _, rest = volume.partition(":")
            target = rest.partition(":")[0] or source
            if Path(path).is_relative_to(target):
                below = Path(path).relative_to(target)
                if not rest:
                    return self._root / "unnamed" / self.name / Path(path).relative_to("/")
                return self._root / "volumes" / Path(source).name / below
        return self._root / "containers" / self.name / Path(path).relative_to("/")

    def environment(self) -> dict[str, str]:
        """Return the variables of the service, for processes on this machine."""
        found: dict[str, str] = {}
        for name, value in self._service["environment"].items():
            prefix = "file://" if value.startswith("file:///") else ""
            path = value.removeprefix(prefix)
            found[name] = f"{prefix}{self.host_path(path)}" if path.startswith("/") else value
        # These belong to the containers' network.
        kept = {name: value for name, value in found.items() if "KAFKA__" not in name}
        return kept | {
            "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": self._system.servers,
            "STREAM_APP_WORKER__HEALTH_HOST": "127.0.0.1",
            "STREAM_APP_WORKER__HEALTH_PORT": "0",
            "STREAM_APP_LEARN__PUBLISH_SECONDS": "0.3",
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *, recreated: bool = False) -> None:
        """Start the process with empty folders where nothing is mounted."""
        self.starts += 1
        emptied = ["containers", "unnamed"] if recreated else ["containers"]
        for kind in emptied:
            shutil.rmtree(self._root / kind / self.name, ignore_errors=True)
        words = [
            str(self.host_path(word)) if word.startswith("/") else word
            for word in self._service["command"]
        ]
        log = self._root / f"{self.name}.log"
        self._process = start_process(words, os.environ | self.environment(), log)
        self._system.workers[self.name] = self._process
        # Logs of a failed test are read here.
        log.touch()
        (self._system.folder / f"{self.name}.log").unlink(missing_ok=True)
        (self._system.folder / f"{self.name}.log").symlink_to(log)

    def kill(self) -> None:
        """End the process as `docker kill` does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart_if_ended(self, *, recreated: bool) -> None:
        """Do what `restart: unless-stopped` does."""
        assert self._process is not None
        if self._process.poll() is not None:
            assert self.starts < 12, "the container restarts for ever"
            self.start(recreated=recreated)


@pytest.mark.parametrize("recreated", [False, True], ids=["restarted", "created again"])
def test_what_isolation_keys_and_identity_need_survives(
    broker: EmbeddedBroker, tmp_path: Path, recreated: bool
) -> None:
    services = read_compose({"PIPELINE": PIPELINE})["services"]
    root = tmp_path / "host"
    name = f"p{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, DECLARED, partitions=2) as system:
        scorer, learner = (
            Container(one, services[one], root, system) for one in ("scorer", "learner")
        )
        file = scorer.host_path(PIPELINE)
        file.parent.mkdir(parents=True)
        shutil.copy(system.pipeline, file)
        scorer.start()
        learner.start()
        batches = EventBatches(system)
        batches.send([], good=50)
        keys = trusted(learner)
        assert len(keys) == 1
        # The learner is replaced: it signs with its key, and accepts what it has signed.
        learner.kill()
        learner.start(recreated=recreated)
        batches.start([SEGFAULT], good=100)
        deadline = time.monotonic() + 150 * PATIENCE
        while not system.has_all_outcomes():
            scorer.restart_if_ended(recreated=recreated)
            assert time.monotonic() < deadline, scorer.log[-4000:]
            time.sleep(0.05)
        assert [code for code, _ in messages(system)] == ["record-crashes"]
        # One restart with the journal, two without it.
        assert scorer.starts <= 4
        at = int(time.time() * 1000) - HOUR
        for number in range(30):
            system.send_label(number, at + 5_000)
        system.until(lambda: system.learned() == 30, 90, "the replaced learner does not learn")
        assert trusted(learner) == trusted(scorer) == keys
        assert learner.starts == 2
        system.check_outcomes()


def trusted(container: Container) -> list[str]:
    """Return the files of the public keys."""
    folder = Path(container.environment()["STREAM_APP_KEYS__TRUSTED_FOLDER"])
    return sorted(file.name for file in folder.iterdir())
