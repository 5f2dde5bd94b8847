"""Scorers as pods: process 1 of a namespace, named by their host, with empty folders at each start.

Kubernetes is not needed: a pod is a namespace here, and the folder of its settings is emptied.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.cli.test_first_process import children, namespace
from tests.deploy.kubernetes import pods
from tests.running_system import ROOT, System
from tests.worker.poison import DECLARED, SPIN, EventBatches, messages

SCORER = next(pod for pod in pods() if pod.name == "payments-scorer")


class ScorerPod:
    """Pod of the scorers' StatefulSet with an ordinal number."""

    def __init__(self, number: int, system: System) -> None:
        self.name = f"{SCORER.name}-{number}"
        self._system = system
        self._data = system.folder / self.name
        self.starts = 0

    def start(self) -> None:
        """Start a new pod with this name, whose `emptyDir` is empty."""
        self.starts += 1
        shutil.rmtree(self._data, ignore_errors=True)
        system = self._system
        words = [
            str(system.pipeline) if word.startswith("/pipelines/") else word
            for word in SCORER.container["args"]
        ]
        environment = {
            **os.environ,
            **system._settings_environment(),
            "STREAM_APP_DATA_DIR": str(self._data),
            "STREAM_APP_STORE_URL": (system.settings.data_dir / "store").as_uri(),
            "STREAM_APP_KEYS__FOLDER": str(system.settings.data_dir / "keys"),
        }
        program = 'hostname "$0" && exec "$@"'
        command = [*namespace(), "--uts", "sh", "-c", program, self.name]
        with (system.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, sys.executable, "-m", "stream_app", *words],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        system.workers[self.name] = self.process

    def stop(self) -> float:
        """Send SIGTERM to process 1, as the kubelet does; returns the seconds until it ends."""
        started = time.monotonic()
        (first,) = children(self.process.pid)
        os.kill(first, signal.SIGTERM)
        assert self.process.wait(SCORER.spec["terminationGracePeriodSeconds"]) == 0
        return time.monotonic() - started


@pytest.mark.faults
def test_pods_survive_a_record_that_hangs_and_are_replaced_one_by_one(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    name = f"p{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, DECLARED, partitions=2) as system:
        scorers = [ScorerPod(number, system) for number in range(2)]
        for scorer in scorers:
            scorer.start()
        system.start("learn")
        batches = EventBatches(system)
        batches.send([], good=50)
        batches.start([SPIN], good=100)
        deadline = time.monotonic() + 240
        while not system.has_all_outcomes():
            for scorer in scorers:
                if scorer.process.poll() is not None:
                    ended = scorer.process.returncode
                    assert ended in (128 + signal.SIGABRT, 128 + signal.SIGKILL)
                    scorer.start()
            assert time.monotonic() < deadline, system.log(scorers[0].name)
            time.sleep(0.1)
        assert [code for code, _ in messages(system)] == ["record-hangs"]
        for scorer in scorers:
            scorer.stop()
            scorer.start()
            batches.send([], good=50)
        run_folder = tmp_path / scorers[1].name / "run" / name
        assert (run_folder / f"score-{scorers[1].name}.json").exists()
        system.check_outcomes()


READER = """
import sys
from stream_app.errors import StoreError
from stream_app.model_store.artifacts import ArtifactStore

store = ArtifactStore(sys.argv[1] + "/payments")
print(store.stored())
try:
    store.put(b"x")
except StoreError as error:
    print(error)
"""


def test_a_scorer_may_start_before_the_learner_has_made_the_folder_of_a_read_only_store(
    tmp_path: Path,
) -> None:
    program = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    words = [*namespace(), "--mount", "sh", "-c", program, str(tmp_path)]
    done = subprocess.run(
        [*words, sys.executable, "-c", READER, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("[]\n")
    assert "cannot be used" in done.stdout
    assert list(tmp_path.iterdir()) == []
