"""Health and metrics over HTTP."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Counter

from stream_app.compiled_core import core_state
from stream_app.errors import SettingsError, StoreError
from stream_app.worker.health import HealthServer


@pytest.fixture
def reasons() -> list[str]:
    return ["restoring state"]


@pytest.fixture
def health(reasons: list[str]) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    Counter("stream_app_tests_total", "Tests.", registry=registry).inc()
    with HealthServer(
        "127.0.0.1", 0, reasons=lambda: reasons, info={"role": "score"}, registry=registry
    ) as server:
        yield server


def get(health: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{health.port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_healthz_reports_alive(health: HealthServer) -> None:
    status, body = get(health, "/healthz")
    assert status == 200
    assert json.loads(body) | {"uptime_seconds": 0} == {
        "status": "alive",
        "uptime_seconds": 0,
        "pid": os.getpid(),
        "core": core_state(),
        "role": "score",
    }


def test_readyz_answers_503_until_there_are_no_reasons(
    health: HealthServer, reasons: list[str]
) -> None:
    status, body = get(health, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, ["restoring state"])
    reasons.clear()
    status, body = get(health, "/readyz")
    assert (status, json.loads(body)["ready"]) == (200, True)


def test_metrics_are_in_prometheus_format(health: HealthServer) -> None:
    status, body = get(health, "/metrics")
    assert status == 200
    assert "stream_app_tests_total 1.0" in body


def test_an_unknown_path_names_the_known_ones(health: HealthServer) -> None:
    status, body = get(health, "/")
    assert status == 404
    assert "/readyz" in body


def test_answers_while_another_request_hangs(reasons: list[str]) -> None:
    release = threading.Event()

    def hang() -> list[str]:
        release.wait(600)
        return []

    with HealthServer("127.0.0.1", 0, reasons=hang) as health:
        slow = threading.Thread(target=get, args=(health, "/readyz"))
        slow.start()
        assert get(health, "/healthz")[0] == 200
        release.set()
        slow.join()


def test_the_address_is_written_to_a_file(health: HealthServer, tmp_path: Path) -> None:
    path = tmp_path / "run" / "score-0.json"
    health.announce(path)
    assert json.loads(path.read_text()) == {
        "pid": os.getpid(),
        "core": core_state(),
        "role": "score",
        "host": "127.0.0.1",
        "port": health.port,
    }
    assert list(path.parent.iterdir()) == [path]


def test_a_taken_port_is_a_settings_error(health: HealthServer) -> None:
    with pytest.raises(SettingsError, match=f"127.0.0.1:{health.port} cannot be opened"):
        HealthServer("127.0.0.1", health.port)


def test_a_file_that_cannot_be_written_is_named(health: HealthServer, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=r"Cannot write to .*run"):
        health.announce(tmp_path / "run" / "score-0.json")
