"""Each worker of a role has a valid and unique instance id."""

import socket
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.errors import FencedError, SettingsError
from stream_app.worker.startup import instance_name
from tests.patience import PATIENCE
from tests.running_system import System


def test_auto_is_the_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "3f1a2b9c0d4e")
    assert instance_name("auto") == "3f1a2b9c0d4e"
    assert instance_name("0") == "0"


@pytest.mark.parametrize("given", ["", "a b", "ä", "../0", "a/b", "x" * 101])
def test_an_invalid_instance_id_is_rejected(given: str) -> None:
    with pytest.raises(SettingsError, match="cannot be an instance id"):
        instance_name(given)


def test_an_invalid_host_name_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my host")
    with pytest.raises(SettingsError, match="'my host' cannot be an instance id"):
        instance_name("auto")


def test_a_second_worker_with_the_same_instance_id_exits(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    name = f"p{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name) as system:
        first = system.start("score", "auto")
        run_file = system.settings.data_dir / "run" / name / f"score-{socket.gethostname()}.json"
        system.until(run_file.exists, 60, "the first does not start")
        second = system.start("score", "auto")
        assert second.wait(60 * PATIENCE) == FencedError.exit_code
        first.kill()
        first.wait()
        assert (
            f"instance {socket.gethostname()} of {name} score is already running here"
            in system.log("score-auto")
        )
