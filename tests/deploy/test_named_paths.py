"""Variables, commands and paths that the deployment files name exist."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from stream_app.cli import app
from stream_app.settings import Settings, load_settings
from tests.deploy.compose import DEPLOY, ROOT, Service, is_app, read_compose
from tests.deploy.test_image import instructions
from tests.docs.documents import OPERATIONS

SERVICES: dict[str, Service] = {
    name: service for name, service in read_compose()["services"].items() if is_app(service)
}
UNIT = next(block.text for block in OPERATIONS.blocks if block.language == "ini")


def check_command(words: list[str]) -> None:
    """Fail unless the words after `stream-app` are a command with options that it has."""
    command: Any = typer.main.get_group(app)
    context = typer.Context(command)
    while hasattr(command, "get_command"):
        command = command.get_command(context, words[0])
        assert command is not None, words
        words = words[1:]
    command.make_context("", list(words), parent=context)


def check_settings(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of these variables alone; an unknown or wrong one is an error."""
    for variable in os.environ:
        if variable.startswith("STREAM_APP_"):
            monkeypatch.delenv(variable)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    load_settings.cache_clear()
    try:
        return load_settings()
    finally:
        load_settings.cache_clear()


def mounted(service: Service) -> dict[str, str]:
    """Return the source of each mounted path of a service; a volume without a name has none."""
    found = dict.fromkeys(service.get("tmpfs", ()), "")
    for volume in service.get("volumes", ()):
        source, _, rest = volume.partition(":")
        found[rest.partition(":")[0] or source] = source if rest else ""
    return found | {f"/run/secrets/{secret}": "" for secret in service.get("secrets", ())}


def is_in_image(path: Path) -> bool:
    """Return True if the Dockerfile makes a path, or writes a file with its name to its folder."""
    words = (DEPLOY / "Dockerfile").read_text().split()
    return str(path) in words or (f"{path.parent}/" in words and path.name in words)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_only_known_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_settings(SERVICES[name]["environment"], monkeypatch)


@pytest.mark.parametrize("name", SERVICES)
def test_a_worker_keeps_its_files_on_volumes(name: str) -> None:
    """The file system of the container is read-only, and a tmpfs is empty after a restart."""
    service = SERVICES[name]
    paths = mounted(service)
    environment = service["environment"]
    written = ["STREAM_APP_DATA_DIR"] if service["command"][0] == "worker" else []
    if name == "learner":
        written += ["STREAM_APP_KEYS__FOLDER", "STREAM_APP_KEYS__TRUSTED_FOLDER"]
        written += ["STREAM_APP_STORE_URL"]
    for variable in written:
        path = Path(environment[variable].removeprefix("file://"))
        mount = next(str(one) for one in (path, *path.parents) if str(one) in paths)
        assert mount not in service["tmpfs"], f"{variable} of {name} is on a tmpfs"
        assert f"{paths[mount]}:{mount}:ro" not in service["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_path_of_a_service_exists(name: str) -> None:
    service = SERVICES[name]
    paths = mounted(service)
    words = [*service["command"], *service.get("entrypoint", ())]
    words += service.get("healthcheck", {}).get("test", ())
    words += service["environment"].values()
    for word in words:
        path = Path(word.removeprefix("file://"))
        if not path.is_absolute():
            continue
        mount = next((str(one) for one in (path, *path.parents) if str(one) in paths), None)
        if mount is None:
            assert is_in_image(path), word
        elif paths[mount].startswith("."):
            assert (ROOT / paths[mount] / path.relative_to(mount)).exists(), word


@pytest.mark.parametrize(
    "name", [name for name, service in SERVICES.items() if "entrypoint" not in service]
)
def test_the_command_of_a_service_exists(name: str) -> None:
    check_command(SERVICES[name]["command"])


def test_the_variables_and_files_of_the_image_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dict(
        word.split("=", 1)
        for line in instructions("ENV")
        for word in shlex.split(line)
        if word.startswith("STREAM_APP_")
    )
    check_settings(variables, monkeypatch)
    for copy in instructions("COPY"):
        if not copy.startswith("--from"):
            for source in copy.split()[:-1]:
                assert (ROOT / source).exists(), source


def test_the_unit_for_systemd_runs_a_command_with_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (command,) = re.findall(r"^ExecStart=(.+)$", UNIT, re.M)
    program, *words = command.replace("%i", "0").split()
    assert Path(program).name == "stream-app"
    check_command(words)
    (file,) = re.findall(r"^EnvironmentFile=(.+)$", UNIT, re.M)
    (block,) = [one.text for one in OPERATIONS.blocks if one.text.startswith(f"# {file}\n")]
    variables = dict(
        line.split("=", 1) for line in block.splitlines() if line and not line.startswith("#")
    )
    assert check_settings(variables, monkeypatch).topics.partitions == 12
