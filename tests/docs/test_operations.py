"""The operations page covers every error, exit code, measurement and alert."""

import re
from typing import get_args

import pytest
import yaml

from stream_app.cli.exit_codes import exit_codes
from stream_app.core.published_records import Kind
from stream_app.error_codes import ERROR_CODES
from stream_app.worker.supervisor import PERMANENT_ERRORS, RETRIABLE_CODES
from tests.docs.documents import OPERATIONS
from tests.running_system import ROOT

ALERTS = [
    rule
    for file in sorted((ROOT / "deploy" / "prometheus").glob("*.yml"))
    for group in (yaml.safe_load(file.read_text()) or {}).get("groups", ())
    for rule in group["rules"]
    if "alert" in rule
]


def first_column(heading: str) -> list[str]:
    """Returns the first column of the section's table."""
    return re.findall(r"^\| `?([\w-]+)`? \|", OPERATIONS.section(heading), re.MULTILINE)[1:]


def test_every_error_code_is_covered() -> None:
    assert first_column("Dead letters") == list(ERROR_CODES)


def test_every_exit_code_is_covered() -> None:
    assert first_column("Exit codes") == [str(code) for code, _ in exit_codes()]


def test_the_advice_for_service_managers_matches_the_supervisor() -> None:
    advice = dict(
        re.findall(r"^\| (\d+) \| (.+) \|$", OPERATIONS.section("Exit codes"), re.MULTILINE)
    )
    assert {
        int(code) for code, text in advice.items() if text.startswith("Again") and code != "70"
    } == RETRIABLE_CODES
    stops = [code for code, text in advice.items() if text.startswith("Stop:")]
    assert {int(code) for code in stops} <= {2, *PERMANENT_ERRORS}
    assert f"RestartPreventExitStatus={' '.join(stops)}\n" in OPERATIONS.text


def test_every_kind_of_measurement_is_covered() -> None:
    assert re.findall("^### (.+)$", OPERATIONS.section("Monitoring"), re.MULTILINE) == list(
        get_args(Kind)
    )


def test_every_alert_is_covered_in_order() -> None:
    sections = re.findall("^### (.+)$", OPERATIONS.section("Alerts"), re.MULTILINE)
    assert [section.lower().replace("-", " ") for section in sections] == [
        words(rule["alert"]) for rule in ALERTS
    ]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_its_section(rule: dict[str, dict[str, str]]) -> None:
    file, _, heading = rule["annotations"]["runbook"].partition("#")
    assert ROOT / file == OPERATIONS.path
    assert heading == words(str(rule["alert"])).replace(" ", "-")
    assert heading in OPERATIONS.anchors


def words(name: str) -> str:
    """Returns the words of a name in camel case, in lower case."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
