"""Prometheus accepts its configuration and rules, and each alert fires when it should."""

import re

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

ANCHORS = {
    line.lstrip("# ").lower().replace(" ", "-")
    for line in (ROOT / "docs" / "operations.md").read_text().splitlines()
    if line.startswith("#")
}


def promtool(*arguments: str) -> str:
    return run([str(find_programs() / "promtool"), *arguments], folder=FOLDER)


def test_the_configuration_and_the_rules_are_valid() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint-fatal", "alerts.yml")


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
