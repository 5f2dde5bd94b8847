"""The schema registry of docker-compose.yml keeps what is registered, under the same ids, whatever happens to it."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.apicurio.server import Apicurio
from tests.deploy.compose import read_compose

REGISTRY = read_compose()["services"]["registry"]


@pytest.mark.timeout(600)  # the first time fetches it
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


def test_its_health_check_asks_the_interface_that_workers_use() -> None:
    worker = read_compose()["services"]["scorer"]["environment"]["STREAM_APP_REGISTRY__URL"]
    assert REGISTRY["healthcheck"]["test"][-1].startswith(worker.replace("registry:", "localhost:"))


def register(registry: Apicurio, subject: str) -> int:
    """The id of a schema of this subject."""
    schema = json.dumps({"type": "record", "name": subject, "fields": []})
    request = Request(
        f"{registry.url}/subjects/{subject}/versions",
        json.dumps({"schema": schema}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urlopen(request, timeout=30) as answer:
        return int(json.load(answer)["id"])
