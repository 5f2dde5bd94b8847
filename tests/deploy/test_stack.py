"""What docker-compose.yml starts works together: workers, Kafka with passwords, Prometheus, dashboard and alerts."""

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

WORKERS = {"learner": ("learner",), "monitor": ("monitor",), "scorer": ("scorer-1", "scorer-2")}
SILENT = {"Drift", "Label coverage"}
"""Panels that need windows of event time to close, which the first seconds do not bring."""


@pytest.mark.timeout(600)  # on a machine that has other things to do
def test_the_stack(tmp_path: Path) -> None:
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
            until(lambda: at_end(prometheus), "with nothing left to do there is still a lag")
            workers["scorer-2"].kill()
            until(
                lambda: "WorkerDown" in prometheus.alerts(), "no alert tells of the killed scorer"
            )


def start(stack: Stack) -> dict[str, Container]:
    """Kafka, the job that makes topics, and the workers, two of them scorers; each until it is healthy."""
    stack.start_kafka().await_healthy()
    refuse_others(stack)
    setup = stack.start("setup")
    assert setup.await_end() == 0, setup.log()
    workers = {
        name: stack.start(service, name) for service, names in WORKERS.items() for name in names
    }
    for worker in workers.values():
        worker.await_healthy()
    return workers


def refuse_others(stack: Stack) -> None:
    """Without the password nobody gets in."""
    password = stack.folder / "secrets" / "kafka_password"
    known = password.read_text()
    password.write_text("guessed")
    assert stack.start("setup", "intruder").await_end() == AccessError.exit_code
    password.write_text(known)


def configuration(workers: dict[str, Container], folder: Path) -> Path:
    """Prometheus's own configuration, with the addresses of this machine and less patience."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        names = [name for discovery in job.pop("dns_sd_configs") for name in discovery["names"]]
        targets = [
            f"127.0.0.1:{workers[worker].port}" for name in names for worker in WORKERS[name]
        ]
        job["static_configs"] = [{"targets": targets}]
    written = folder / "prometheus.yml"
    written.write_text(yaml.safe_dump(config))
    return written


def check_queries(prometheus: Prometheus) -> None:
    """Every query of the dashboard gives data, and its variables find the pipeline and the workers."""
    until(lambda: values(prometheus, "pipeline") == {"flights"}, "no pipeline is found")
    until(lambda: len(values(prometheus, "instance")) == 4, "not every worker is found")
    for title, expression in queries():
        if title not in SILENT:
            until(
                lambda: prometheus.query(expression) != [],  # noqa: B023
                f"{title} shows nothing: {expression}",
            )
        else:
            prometheus.query(expression)


def queries() -> list[tuple[str, str]]:
    """The title and expression of each query."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "stream_app.json").read_text())
    filled = [
        (
            panel["title"],
            target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*"),
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
    """Every rule has been evaluated without an error; a system that works alarms nobody, unless about its data."""
    until(
        lambda: all(rule["lastEvaluation"] > "0002" for rule in prometheus.rules()),
        "rules are not evaluated",
    )
    assert [rule for rule in prometheus.rules() if rule["health"] != "ok"] == []
    assert prometheus.alerts().keys() <= {"ModelAlarm", "CorrectiveAction"}


def at_end(prometheus: Prometheus) -> bool:
    """Whether every partition of every worker's inputs is processed to its end."""
    found = prometheus.query("stream_app_lag_records")
    return len(found) == 3 * 4 + 1 + 4 + 1 and all(series["value"][1] == "0" for series in found)


def check_metrics(workers: dict[str, Container]) -> None:
    """What every role shows is named as Prometheus recommends."""
    for worker in workers.values():
        with urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=5) as answer:
            shown = answer.read()
        ours = b"".join(line for line in shown.splitlines(keepends=True) if b"stream_app_" in line)
        run([str(find_programs() / "promtool"), "check", "metrics"], given=ours)


def until(condition: Callable[[], Any], why: str, timeout: float = 120.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.2)
