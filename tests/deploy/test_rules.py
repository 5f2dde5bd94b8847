"""Prometheus accepts its configuration and rules, and each alert fires when it should."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.compose import DEPLOY, ROOT
from tests.deploy.prometheus import find_programs, run

FOLDER = DEPLOY / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ANCHORS = {
    line.lstrip("# ").lower().replace(" ", "-")
    for line in OPERATIONS.splitlines()
    if line.startswith("#")
}


def promtool(*arguments: str) -> str:
    return run([str(find_programs() / "promtool"), *arguments], folder=FOLDER)


def test_the_configuration_and_the_rules_are_valid() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint-fatal", "alerts.yml")


def test_the_scrape_examples_of_the_docs_are_valid(tmp_path: Path) -> None:
    """The targets of workers that `stream-app up` has started come from their run files."""
    examples = [block for block in blocks("yaml") if "scrape_configs" in block]
    kubernetes = (ROOT / "docs" / "kubernetes.md").read_text()
    examples += [block for block in blocks("yaml", kubernetes) if "scrape_configs" in block]
    assert len(examples) == 3
    (command,) = [block for block in blocks("sh") if "jq -s" in block]
    home, targets = tmp_path, tmp_path / "stream_app.json"
    run_folder = home / ".local" / "share" / "stream-app" / "run" / "payments"
    run_folder.mkdir(parents=True)
    run_file = {"pid": 1, "pipeline": "payments", "role": "score", "instance": "0"}
    address = {"host": "127.0.0.1", "port": 4711}
    (run_folder / "score-0.json").write_text(json.dumps(run_file | address))
    subprocess.run(
        ["sh", "-c", command.replace("/etc/prometheus", str(tmp_path))],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        check=True,
    )
    labels = {"pipeline": "payments", "job": "scorer", "instance": "payments-score-0"}
    assert json.loads(targets.read_text()) == [{"targets": ["127.0.0.1:4711"], "labels": labels}]
    for example in examples:
        config = yaml.safe_load(example.replace("/etc/prometheus", str(tmp_path)))
        del config["rule_files"]
        for scrape in config["scrape_configs"]:
            # Debian's Prometheus is built without the discovery of Kubernetes.
            if scrape.pop("kubernetes_sd_configs", None):
                scrape["static_configs"] = [{"targets": ["pod:8080"]}]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        promtool("check", "config", str(tmp_path / "prometheus.yml"))


def blocks(language: str, page: str = OPERATIONS) -> list[str]:
    """Return the code blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yml")
    tests = {
        test["name"]: test["promql_expr_test"]
        for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    }
    assert tests.keys() == {rule["alert"] for rule in RULES}
    for name, checks in tests.items():
        assert {bool(check["exp_samples"]) for check in checks} == {True, False}, name


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_has_a_description_and_a_runbook(rule: dict[str, dict[str, str]]) -> None:
    kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", str(rule["alert"])).lower()
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{kebab}"
    assert kebab in ANCHORS
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
