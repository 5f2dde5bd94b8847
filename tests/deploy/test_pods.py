"""Workers as pods: process 1 of a namespace, named by their host, with empty folders at each start.

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

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from tests.cli.test_first_process import children, namespace
from tests.deploy.kubernetes import Pod, make_keys, pods, projected
from tests.patience import PATIENCE
from tests.running_system import ROOT, System
from tests.small_pipeline import HOUR
from tests.worker.poison import DECLARED, SPIN, EventBatches, messages

WORKLOADS = {pod.name: pod for pod in pods()}


class WorkerPod:
    """Pod of a StatefulSet with an ordinal number.

    Args:
        mounts: folder in place of `/`, with the Secrets and ConfigMaps of the keys.
    """

    def __init__(self, workload: str, number: int, system: System, mounts: Path) -> None:
        self.name = f"{workload}-{number}"
        self._workload: Pod = WORKLOADS[workload]
        self._system = system
        self._mounts = mounts
        self._data = system.folder / self.name
        self.starts = 0

    @property
    def run_file(self) -> Path:
        """Run file of a scorer, whose instance id is the name of the pod."""
        return self._data / "run" / self._system.name / f"score-{self.name}.json"

    def start(self) -> None:
        """Start a new pod with this name, whose `emptyDir` is empty."""
        self.starts += 1
        shutil.rmtree(self._data, ignore_errors=True)
        system = self._system
        words = [
            str(system.pipeline) if word.startswith("/pipelines/") else word
            for word in self._workload.container["args"]
        ]
        keys = {
            name: f"{self._mounts}{path}"
            for name, path in self._workload.environment().items()
            if name.startswith("STREAM_APP_KEYS__")
        }
        environment = {
            **os.environ,
            **system._settings_environment(),
            **keys,
            "STREAM_APP_DATA_DIR": str(self._data),
            "STREAM_APP_STORE_URL": (system.settings.data_dir / "store").as_uri(),
            # Kubernetes sets such variables for a Service named stream-app.
            "STREAM_APP_PORT": "tcp://10.96.7.7:8080",
            "STREAM_APP_PORT_8080_TCP_ADDR": "10.96.7.7",
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
        assert self.process.wait(self._workload.spec["terminationGracePeriodSeconds"]) == 0
        return time.monotonic() - started

    def kill(self) -> None:
        """Kill process 1, as the kernel or the kubelet may do."""
        (first,) = children(self.process.pid)
        os.kill(first, signal.SIGKILL)
        self.process.wait()


def mount_keys(folder: Path) -> Path:
    """Make the keys as the page says; returns the folder with their Secret and ConfigMap."""
    made = folder / "made"
    made.mkdir()
    make_keys(made)
    mounts = folder / "mounts"
    projected(mounts / "signing", {"signing.pem": (made / "signing.pem").read_bytes()})
    projected(mounts / "trusted", {"first.pem": (made / "trusted" / "first.pem").read_bytes()})
    for file in (mounts / "signing").rglob("*.pem"):
        file.chmod(0o440)
    return mounts


# The machine may be busy.
@pytest.mark.faults
def test_pods_survive_a_record_that_hangs_and_are_replaced_one_by_one(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    name = f"p{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, DECLARED, partitions=2) as system:
        mounts = mount_keys(tmp_path)
        scorers = [WorkerPod("payments-scorer", number, system, mounts) for number in range(2)]
        for pod in (*scorers, WorkerPod("payments-learner", 0, system, mounts)):
            pod.start()
        batches = EventBatches(system)
        batches.send([], good=50)
        batches.start([SPIN], good=100)
        deadline = time.monotonic() + 240 * PATIENCE
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
            # Other scorers may have all the work until a pod has started.
            system.until(scorer.run_file.exists, 120, f"{scorer.name} has no run file of its name")
            scorer.stop()
            scorer.start()
            batches.send([], good=50)
            system.until(scorer.run_file.exists, 120, f"{scorer.name} has no run file of its name")
        system.check_outcomes()


# The machine may be busy.
@pytest.mark.faults
def test_a_replaced_learner_continues_with_the_key_of_its_secret(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    name = f"p{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, partitions=2) as system:
        mounts = mount_keys(tmp_path)
        files = sorted(mounts.rglob("*"))
        learner = WorkerPod("payments-learner", 0, system, mounts)
        for pod in (WorkerPod("payments-scorer", 0, system, mounts), learner):
            pod.start()
        at = int(time.time() * 1000) - HOUR
        for count, end in ((30, learner.stop), (60, learner.kill), (90, learner.stop)):
            for number in range(count - 30, count):
                system.send_event(number, at + number)
                system.send_label(number, at + number + 5_000)
            system.until(lambda: system.learned() == count, 120, "not learned")  # noqa: B023
            end()
            learner.start()
        versions = [
            orjson.loads(message.value() or b"")
            for message in system.read("models")
            if (message.key() or b"").startswith(b"version/") and message.value()
        ]
        assert len({version["key_id"] for version in versions}) == 1
        learned = [version["learned"] for version in versions]
        assert learned == sorted(learned)
        # The folders of the pods are emptied, and none has made a key.
        assert sorted(mounts.rglob("*")) == files
        assert list((tmp_path / learner.name).rglob("*.pem")) == []
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
