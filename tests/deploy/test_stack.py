"""Services of docker-compose.yml work together: workers, secured Kafka, Prometheus, dashboard."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from stream_app.errors import AccessError
from tests.deploy.compose import DEPLOY
from tests.deploy.containers import Container, Stack
from tests.deploy.prometheus import Prometheus, find_programs, run, running_prometheus
from tests.patience import PATIENCE

WORKERS = {"learner": ("learner",), "monitor": ("monitor",), "scorer": ("scorer-1", "scorer-2")}
"""Processes of each service; other services, such as those of a profile, have none."""

PANELS_WITHOUT_DATA = {"Drift", "Label coverage"}
"""Panels that need closed windows of event time, which the first seconds do not have."""


# The machine may be busy.
@pytest.mark.faults
def test_the_stack_scores_and_is_monitored(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        workers = start(stack)
        flights = stack.start("flights")
        with running_prometheus(
            configuration(workers, tmp_path), tmp_path / "prometheus"
        ) as prometheus:
            check_queries(prometheus)
            check_alerts(prometheus)
            check_metrics(workers)
            flights.kill()
            until(lambda: at_end(prometheus), "the lag stays above zero")
            workers["scorer-2"].kill()
            until(lambda: "WorkerDown" in prometheus.alerts(), "no alert for the killed scorer")


def start(stack: Stack) -> dict[str, Container]:
    """Starts Kafka, the setup job and the workers, two of them scorers; waits until healthy."""
    stack.start_kafka().await_healthy()
    check_wrong_password(stack)
    setup = stack.start("setup")
    assert setup.await_end() == 0, setup.log()
    workers = {
        name: stack.start(service, name) for service, names in WORKERS.items() for name in names
    }
    for worker in workers.values():
        worker.await_healthy()
    return workers


def check_wrong_password(stack: Stack) -> None:
    """Checks that Kafka rejects a wrong password."""
    password = stack.folder / "secrets" / "kafka_password"
    right = password.read_text()
    password.write_text("guessed")
    assert stack.start("setup", "intruder").await_end() == AccessError.exit_code
    password.write_text(right)


def configuration(workers: dict[str, Container], folder: Path) -> Path:
    """Returns Prometheus's configuration with local addresses and short intervals."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        names = [name for discovery in job.pop("dns_sd_configs") for name in discovery["names"]]
        targets = [
            f"127.0.0.1:{workers[worker].port}"
            for name in names
            for worker in WORKERS.get(name, ())
        ]
        job["static_configs"] = [{"targets": targets}]
    written = folder / "prometheus.yml"
    written.write_text(yaml.safe_dump(config))
    return written


def check_queries(prometheus: Prometheus) -> None:
    """Checks that every query of the dashboard gives data, and its variables find all workers."""
    until(lambda: values(prometheus, "pipeline") == {"flights"}, "no pipeline is found")
    until(lambda: len(values(prometheus, "instance")) == 4, "not every worker is found")
    for title, expression in queries():
        if title not in PANELS_WITHOUT_DATA:
            until(
                lambda: prometheus.query(expression) != [],  # noqa: B023
                f"{title} shows nothing: {expression}",
            )
        else:
            prometheus.query(expression)


def queries() -> list[tuple[str, str]]:
    """Returns the title and the expression of each query."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "stream_app.json").read_text())
    filled = [
        (
            panel["title"],
            target["expr"]
            .replace("$__rate_interval", "10s")
            .replace("$instance", ".*")
            .replace("$pipeline", "flights"),
        )
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    assert all("$" not in expression for _, expression in filled)
    return filled


def values(prometheus: Prometheus, label: str) -> set[str]:
    return {
        found["metric"][label]
        for found in prometheus.query('stream_app_worker_info{pipeline="flights"}')
    }


def check_alerts(prometheus: Prometheus) -> None:
    """Checks that rules are evaluated without errors, and only alerts about the data fire."""
    until(
        lambda: all(rule["lastEvaluation"] > "0002" for rule in prometheus.rules()),
        "rules are not evaluated",
    )
    assert [rule for rule in prometheus.rules() if rule["health"] != "ok"] == []
    assert prometheus.alerts().keys() <= {"ModelAlarm", "CorrectiveAction"}


def at_end(prometheus: Prometheus) -> bool:
    """Return True if every partition of every worker's inputs is processed to its end."""
    found = prometheus.query("stream_app_lag_records")
    return len(found) == 3 * 4 + 1 + 4 + 2 and all(series["value"][1] == "0" for series in found)


def check_metrics(workers: dict[str, Container]) -> None:
    """Checks that the metrics of every role follow Prometheus's naming rules."""
    for worker in workers.values():
        with urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=60) as response:
            exported = response.read()
        ours = b"".join(
            line for line in exported.splitlines(keepends=True) if b"stream_app_" in line
        )
        run([str(find_programs() / "promtool"), "check", "metrics"], given=ours)


def until(condition: Callable[[], Any], why: str, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.2)
