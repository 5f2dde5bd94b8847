"""docker-compose.yml refers only to existing things and gives services few rights."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stream_app.broker.java_runtime import kafka_version, read_lock
from stream_app.settings import Settings
from tests.deploy.compose import DEPLOY, ROOT, Service, is_app, is_builder, is_job, read_compose

COMPOSE = read_compose()
SERVICES: dict[str, Service] = COMPOSE["services"]
APPS = [name for name, service in SERVICES.items() if is_app(service)]


@pytest.mark.parametrize("name", APPS)
def test_every_variable_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("STREAM_APP_"):
            monkeypatch.delenv(variable)
    environment: dict[str, str] = SERVICES[name]["environment"]
    defaults = Settings().model_dump()
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = Settings().model_dump()
    # Unknown variables do not appear in the settings.
    for variable in environment:
        section: Any = settings
        for part in variable.removeprefix("STREAM_APP_").lower().split("__"):
            assert part in section, variable
            section = section[part]
    assert settings != defaults


@pytest.mark.parametrize("name", SERVICES)
def test_everything_that_a_service_refers_to_is_declared(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", ()):
        source, _, target = volume.partition(":")
        if not target:
            # A volume of each container alone, without a name.
            continue
        assert (
            (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        ), volume
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    assert set(service.get("depends_on", ())) <= SERVICES.keys()
    for other, dependency in service.get("depends_on", {}).items():
        awaited = "service_completed_successfully" if is_job(SERVICES[other]) else "service_healthy"
        # Prometheus only has to stop before the workers.
        at_once = is_builder(SERVICES[other]) or name == "prometheus"
        assert dependency["condition"] == ("service_started" if at_once else awaited)
        if SERVICES[other].get("profiles") != service.get("profiles"):
            assert dependency.get("required", True) is ("profiles" not in SERVICES[other])


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    service = SERVICES[name]
    if not is_app(service) and not is_builder(service):
        _, _, tag = service["image"].partition(":")
        assert tag[0].isdigit() or tag[0] == "v", service["image"]
        assert tag.count(".") >= 2, service["image"]


def test_images_have_the_tested_versions() -> None:
    registry = (ROOT / "tests" / "apicurio" / "archive.lock").read_text()
    assert SERVICES["kafka"]["image"].startswith(f"apache/kafka:{kafka_version(read_lock())}@")
    assert f"/{SERVICES['registry']['image'].split(':')[1]}/" in registry


def test_the_image_is_built_once_and_never_fetched() -> None:
    """With a build for each service, `up` after `up --build` would replace all containers."""
    builders = [name for name, service in SERVICES.items() if "build" in service]
    assert builders == ["stream-app"]
    for name in (*APPS, *builders):
        assert SERVICES[name]["pull_policy"] == "never"
    for name in ("setup", "schemas"):
        assert "stream-app" in SERVICES[name]["depends_on"]


def test_an_image_of_ones_own_replaces_that_of_every_service_but_not_the_built_one() -> None:
    services = read_compose({"IMAGE": "payments"})["services"]
    assert {services[name]["image"] for name in APPS} == {"payments"}
    assert services["stream-app"]["image"] == "stream-app"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_and_restarts(name: str) -> None:
    service = SERVICES[name]
    if not is_job(service) and not is_builder(service):
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", [name for name in APPS if is_job(SERVICES[name])])
def test_a_job_that_fails_is_not_repeated(name: str) -> None:
    """`up` ends with its exit code: repeated, it would wait without a word."""
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", [name for name in APPS if not is_job(SERVICES[name])])
def test_the_data_folder_of_a_worker_survives_a_restart(name: str) -> None:
    """It contains the journal that finds a record which crashes the worker."""
    service = SERVICES[name]
    folder = service["environment"]["STREAM_APP_DATA_DIR"]
    assert folder in service["volumes"]
    assert not any(folder.startswith(temporary) for temporary in service["tmpfs"])


def test_prometheus_stops_before_the_workers() -> None:
    """Otherwise it keeps samples of stopped workers: `WorkerDown` fires after the next `up`."""
    workers = {name for name, one in SERVICES.items() if one.get("command", [""])[0] == "worker"}
    assert SERVICES["prometheus"]["depends_on"].keys() == workers


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_to_the_local_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", APPS)
def test_the_app_runs_with_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # The image's own user is not root.
    assert "user" not in service


def test_only_the_learner_has_the_signing_key_and_all_the_public_ones() -> None:
    mounted = {
        name: {volume.split(":")[0]: volume for volume in SERVICES[name]["volumes"]}
        for name in APPS
    }
    assert [name for name in APPS if "keys" in mounted[name]] == ["learner"]
    for name in {"scorer", "monitor", "setup"}:
        assert mounted[name]["trusted"] == "trusted:/trusted:ro"
    learner = SERVICES["learner"]["environment"]
    assert mounted["learner"]["keys"] == f"keys:{learner['STREAM_APP_KEYS__FOLDER']}"
    assert mounted["learner"]["trusted"] == f"trusted:{learner['STREAM_APP_KEYS__TRUSTED_FOLDER']}"


def test_jobs_and_workers_run_the_pipeline_of_the_variable() -> None:
    services = read_compose({"PIPELINE": "payments.py"})["services"]
    for name in ("setup", "schemas", "scorer", "learner", "monitor"):
        assert "payments.py" in services[name]["command"]


def test_secrets_are_created_once_and_ignored_by_git(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_text((DEPLOY / "secrets.sh").read_text())
    subprocess.run(["sh", str(script)], check=True)
    created = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} == created.keys()
    assert all(len(bytes.fromhex(secret)) == 24 for secret in created.values())
    assert len(set(created.values())) == len(created)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    subprocess.run(["sh", str(script)], check=True)
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == created
    assert (DEPLOY / "secrets" / ".gitignore").read_text().split() == ["*", "!.gitignore"]
