"""The schema registry of docker-compose.yml keeps schemas and their ids across restarts."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.apicurio.server import Apicurio
from tests.deploy.compose import read_compose

REGISTRY = read_compose()["services"]["registry"]


# The first run downloads the registry.
def test_schemas_survive_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REGISTRY["environment"].items():
        monkeypatch.setenv(name, value.replace("/schemas", str(tmp_path)))
    registry = Apicurio(tmp_path)
    try:
        ids = [register(registry, subject) for subject in ("a", "b")]
        registry.kill()
        registry = Apicurio(tmp_path)
        assert [register(registry, subject) for subject in ("a", "b")] == ids
        assert register(registry, "c") not in ids
    finally:
        registry.kill()


def test_the_health_check_uses_the_interface_of_the_workers() -> None:
    worker = read_compose()["services"]["scorer"]["environment"]["STREAM_APP_REGISTRY__URL"]
    assert REGISTRY["healthcheck"]["test"][-1].startswith(worker.replace("registry:", "localhost:"))


def register(registry: Apicurio, subject: str) -> int:
    """Registers a schema of a subject; returns its id."""
    schema = json.dumps({"type": "record", "name": subject, "fields": []})
    request = Request(
        f"{registry.url}/subjects/{subject}/versions",
        json.dumps({"schema": schema}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urlopen(request, timeout=30) as response:
        return int(json.load(response)["id"])
