"""Mistakes of a first run: each gives one line with a remedy and a documented exit code."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.broker import node as node_module
from stream_app.broker.broker_errors import DiskError
from stream_app.broker.download import Download, fetch_all
from stream_app.cli import main
from stream_app.errors import (
    BrokerError,
    FencedError,
    KafkaUnavailableError,
    PipelineError,
    SettingsError,
    StoreError,
)
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.settings import Settings, load_settings
from stream_app.worker.run_folder import make_run_folder
from tests.broker.repository import serving
from tests.in_process import run_in_process
from tests.patience import PATIENCE
from tests.running_system import ROOT
from tests.transfer.clusters import unique_name

SETUP_FILES = (
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    "requirements-build.lock",
    "setup.py",
)
GOOD = """
from datetime import timedelta
from river import linear_model
from stream_app import Label, Pipeline

pipeline = Pipeline(
    name="NAME",
    schema="payments.avsc",
    event_id="id",
    event_time="at",
    features=lambda payment: {"amount": payment["amount"]},
    model=linear_model.LogisticRegression,
    label=Label(schema="verdicts.avsc", field="fraud", time="known_at", horizon=timedelta(days=3)),
    untrained="allowed",
)
"""
TIME = '{"type": "long", "logicalType": "timestamp-millis"}'
PAYMENT = (
    '{"type": "record", "name": "Payment", "fields": [{"name": "id", "type": "string"}, '
    f'{{"name": "at", "type": {TIME}}}, {{"name": "amount", "type": "double"}}]}}'
)
VERDICT = (
    '{"type": "record", "name": "Verdict", "fields": [{"name": "id", "type": "string"}, '
    f'{{"name": "fraud", "type": "boolean"}}, {{"name": "known_at", "type": {TIME}}}]}}'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder with a valid pipeline, the working directory of commands; no setting is inherited."""
    (tmp_path / "payments.avsc").write_text(PAYMENT)
    (tmp_path / "verdicts.avsc").write_text(VERDICT)
    (tmp_path / "good.py").write_text(GOOD.replace("NAME", unique_name()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAM_APP_DATA_DIR", str(tmp_path / "data"))
    load_settings.cache_clear()
    yield tmp_path
    load_settings.cache_clear()


def failed_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Return exit code and the only line of a command that fails, run in this process."""
    monkeypatch.setattr(sys, "argv", ["stream-app", *command.split()])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith("error: ")
    return int(str(ended.value.code)), errors


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("nowhere.py", "nowhere.py cannot be read"),
        (".", ". is neither a Python file nor a module. Give path/to/file.py or package.module"),
        ("folder.py", "folder.py cannot be read: "),
        ("empty.py", "empty.py has no pipelines. Declare pipeline = "),
        ("good.py:other", "good.py:other is not a Pipeline. Choose from pipeline"),
        (
            "nosuchmodule",
            "No module named 'nosuchmodule'. Install the package, or correct the name",
        ),
    ],
)
def test_a_wrong_path_is_an_error(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spec: str,
    expected: str,
) -> None:
    (folder / "folder.py").mkdir()
    (folder / "empty.py").touch()
    code, line = failed_command(f"up {spec}", monkeypatch, capsys)
    assert code == PipelineError.exit_code
    assert expected in line


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        (
            "pipeline = Pipeline(",
            "pipeline = Pipeline((",
            "edited.py:6: '(' was never closed. Correct the syntax",
        ),
        ('"id"', '"idd"', "event_id 'idd' is not a field of schema. Choose from id, at, amount"),
        (
            "payments.avsc",
            "paymnts.avsc",
            "paymnts.avsc cannot be read: No such file or directory. Correct the path",
        ),
        ("payments.avsc", "broken.avsc", "broken.avsc is not JSON: "),
        ("payments.avsc", "unknown.avsc", '"strng" not a valid Avro schema'),
        (
            "horizon=",
            "horizn=",
            "edited.py:13: Label: unknown field horizn; the nearest is horizon. Choose from ",
        ),
        (
            "from river",
            "from rivr",
            "edited.py:3: No module named 'rivr'. Install the package, or correct the name",
        ),
    ],
)
def test_a_mistake_in_the_pipeline_is_an_error_with_its_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    right: str,
    wrong: str,
    expected: str,
) -> None:
    (folder / "broken.avsc").write_text(PAYMENT[:-1])
    (folder / "unknown.avsc").write_text(PAYMENT.replace("double", "strng"))
    (folder / "edited.py").write_text((folder / "good.py").read_text().replace(right, wrong))
    code, line = failed_command("up edited.py", monkeypatch, capsys)
    assert code == PipelineError.exit_code
    assert expected in line


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        (
            "STREAM_APP_KAFKA_BOOTSTRAP_SERVERS",
            "kafka:9092",
            "the nearest name is STREAM_APP_KAFKA__BOOTSTRAP_SERVERS",
        ),
        ("STREAM_APP_TOPICS__PARTITION", "8", "the nearest name is STREAM_APP_TOPICS__PARTITIONS"),
        (
            "stream_app_datadir",
            "/tmp",
            "stream_app_datadir is not a setting. Unset or correct it; the nearest name is S",
        ),
        ("STREAM_APP_KAFKA", "kafka:9092", "STREAM_APP_KAFKA is not a setting"),
        (
            "STREAM_APP_BROKER__PORT",
            "99999",
            "STREAM_APP_BROKER__PORT is invalid: Input should be less than or equal to",
        ),
        ("STREAM_APP_DATA_DIR", "/dev/null/x", "Cannot write to /dev/null/x/run/p-"),
        (
            "STREAM_APP_DATA_DIR",
            "/proc/nowhere",
            "Set STREAM_APP_DATA_DIR to a folder that this user may write to",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv(variable, value)
    code, line = failed_command("up good.py", monkeypatch, capsys)
    assert code == SettingsError.exit_code
    assert expected in line


def test_an_unwritable_home_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAM_APP_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    code, line = failed_command("up good.py", monkeypatch, capsys)
    assert code == SettingsError.exit_code
    assert "Cannot write to /proc/nowhere/.local/share/stream-app/run/" in line


def test_an_unwritable_cache_names_its_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAM_APP_CACHE_DIR", "/proc/nowhere")
    code, line = failed_command("up good.py", monkeypatch, capsys)
    assert code == BrokerError.exit_code
    assert "STREAM_APP_CACHE_DIR" in line


def test_a_folder_of_another_user_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    folder.chmod(0o500)
    with (
        as_ordinary_user(),
        pytest.raises(SettingsError, match=r"Cannot write to .*: Permission denied"),
    ):
        make_run_folder(Settings(data_dir=folder), "payments")


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Run the block without the rights of root, which needs no permission."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_second_up_of_one_pipeline_is_rejected(
    folder: Path,
    broker: EmbeddedBroker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STREAM_APP_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    with typed("up", "good.py", "--no-monitor") as first:
        await_line(first, "worker started")
        # No worker has joined its group yet.
        for another in ("up good.py", "reset good.py --yes --json"):
            code, line = failed_command(another, monkeypatch, capsys)
            assert code == FencedError.exit_code
            assert "`stream-app up` or `reset` of p-" in line
        # Its workers are still starting.
        first.send_signal(signal.SIGINT)
        assert first.wait(20 * PATIENCE) == 0


@pytest.mark.parametrize("command", ["up good.py --no-monitor", "worker good.py --role score"])
def test_a_used_health_port_is_an_error(
    folder: Path, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("STREAM_APP_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        typed("topics", "create", "good.py") as creating,
    ):
        assert creating.wait(60 * PATIENCE) == 0
        port = server.getsockname()[1]
        with typed(*command.split(), STREAM_APP_WORKER__HEALTH_PORT=str(port)) as process:
            _, errors = process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == SettingsError.exit_code
    assert errors.splitlines()[-1] == (
        f"error: Health port 127.0.0.1:{port} cannot be opened: Address already in use. "
        "Set STREAM_APP_WORKER__HEALTH_PORT=0"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("foo://bucket/models", "STREAM_APP_STORE_URL cannot be used"),
        ("/dev/null/store", "Not a directory"),
    ],
)
def test_a_wrong_artifact_store_names_its_setting(url: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        ArtifactStore(url)


def test_a_full_disk_of_the_artifact_store_is_an_error(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The limit is above the size of the test's own output.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(StoreError, match="File too large"):
            store.put(bytes(2_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_of_the_broker_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = EmbeddedBroker(tmp_path / "kafka", owned=True)
    (tmp_path / "kafka").mkdir()
    # Writing to it fails with "no space left on device".
    (tmp_path / "kafka" / "server.properties").symlink_to("/dev/full")
    with pytest.raises(DiskError, match=f"The disk of {tmp_path}/kafka is full"):
        broker.start()
    monkeypatch.setattr(node_module, "_MIN_FREE_BYTES", 2**62)
    with pytest.raises(DiskError, match=f"The disk of {tmp_path}/kafka is full"):
        broker.start()


def test_a_full_disk_of_the_cache_is_an_error(tmp_path: Path) -> None:
    with serving({"a.jar": b"a" * 1000}) as repository:
        (jar,) = repository.jars()
        download = Download(f"{repository.url}/a.jar", tmp_path / "a.jar", jar.sha512, jar.size)
        download.part.symlink_to("/dev/full")
        with pytest.raises(DiskError, match=f"The disk of {tmp_path} is full"):
            fetch_all([download], retry_seconds=())


def test_a_first_download_without_network_names_the_proxy(folder: Path) -> None:
    done = run(
        "up",
        "good.py",
        STREAM_APP_CACHE_DIR=str(folder / "cache"),
        HTTPS_PROXY="http://127.0.0.1:1",
    )
    assert done.returncode == BrokerError.exit_code
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: Cannot fetch https://repo.maven.apache.org/")
    assert "Check the network and the proxy (HTTPS_PROXY)" in last


@pytest.mark.parametrize("command", ["up good.py", "broker start"])
def test_ctrl_c_ends_a_hanging_download(folder: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        repository = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {
            "STREAM_APP_CACHE_DIR": str(folder / "cache"),
            "STREAM_APP_BROKER__REPOSITORY": repository,
        }
        with typed(*command.split(), **environment) as process:
            await_line(process, "Fetching Apache Kafka")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10 * PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_used_broker_port_names_its_setting(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("up", "good.py", STREAM_APP_BROKER__PORT=str(port))
    assert done.returncode == BrokerError.exit_code
    assert done.stderr.startswith(f"error: Port {port} of 127.0.0.1 is taken")
    assert "STREAM_APP_BROKER__PORT" in done.stderr


def test_two_pipelines_share_the_embedded_broker_and_restart_it_when_it_dies(
    folder: Path,
) -> None:
    (folder / "other.py").write_text(GOOD.replace("NAME", unique_name()))
    broker = EmbeddedBroker(folder / "data" / "kafka")
    try:
        with (
            typed("up", "good.py", "--no-monitor") as first,
            typed("up", "other.py", "--no-monitor") as second,
        ):
            for process in (first, second):
                await_line(process, "worker started")
            broker.kill()
            deadline = time.monotonic() + 60 * PATIENCE
            while not broker.status().running:
                assert time.monotonic() < deadline, "the broker is not restarted"
                time.sleep(0.1)
            # Returns when the broker is ready.
            broker.start()
            pid = broker.pid
            first.send_signal(signal.SIGINT)
            assert first.wait(30 * PATIENCE) == 0
            assert broker.pid == pid
            second.send_signal(signal.SIGTERM)
            assert second.wait(30 * PATIENCE) == 0
        assert not broker.status().running
        stale = run_in_process("topics", "show", "good.py", folder=folder)
        assert stale.returncode == KafkaUnavailableError.exit_code
        assert "the embedded broker is not running" in stale.stderr
    finally:
        broker.kill()


def test_no_dependency_needs_a_compiler() -> None:
    """A wheel that was built here has a tag that no package index accepts."""
    tags = {
        distribution.name: [
            line
            for line in (distribution.read_text("WHEEL") or "").splitlines()
            if "-linux_" in line
        ]
        for distribution in distributions()
        # Its own core is compiled where there is a compiler.
        if distribution.name != "stream-app"
    }
    assert "river" in tags
    assert {name: found for name, found in tags.items() if found} == {}


def test_make_names_the_python_that_it_needs(tmp_path: Path) -> None:
    for file in SETUP_FILES:
        shutil.copy(ROOT / file, tmp_path)
    old = tmp_path / "python3.9"
    pretence = "import sys; sys.version_info = (3, 9, 1); exec(sys.argv[1])"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{pretence}' \"$2\"\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("Python 3.11 to 3.13 is required: make PYTHON=python3.12")
    assert not (tmp_path / ".venv").exists()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    with typed(*arguments, **environment) as process:
        output, errors = process.communicate(timeout=90 * PATIENCE)
    assert "Traceback" not in errors
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@contextmanager
def typed(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command in the working directory; kill it at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def await_line(process: subprocess.Popen[str], text: str) -> None:
    """Read standard error up to a line with this text."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} is not in {seen}")
