"""Tests that a check that fails, hangs or lacks something does not affect the others."""

import time
from collections.abc import Iterator
from io import StringIO
from threading import Event

from rich.console import Console

from stream_app.doctor.context import (
    Check,
    CheckResult,
    DoctorContext,
    ReportedResult,
    ok,
    problem,
    skipped,
    warning,
)
from stream_app.doctor.runner import render, run_checks
from stream_app.settings import KafkaSettings, Settings
from tests.patience import PATIENCE


def crash(_: DoctorContext) -> Iterator[CheckResult]:
    yield ok("as far as it came")
    raise ValueError("broken")


def hang(_: DoctorContext) -> Iterator[CheckResult]:
    time.sleep(60)
    yield ok("never")


def fine(_: DoctorContext) -> Iterator[CheckResult]:
    yield ok("fine")


def test_a_check_that_crashes_or_hangs_stops_no_other() -> None:
    began = time.monotonic()
    found = list(
        run_checks(
            [Check("a", crash), Check("b", hang, limit=0.2), Check("c", fine)], DoctorContext(None)
        )
    )
    assert time.monotonic() - began < 5 * PATIENCE
    assert [(one.area, one.level) for one in found] == [
        ("a", "ok"),
        ("a", "problem"),
        ("b", "problem"),
        ("c", "ok"),
    ]
    assert found[1].message == "the check itself failed: ValueError: broken"
    assert found[2].message == "no result within 0 s"


def test_a_missing_value_is_a_problem_once_and_then_skips_checks() -> None:
    context = DoctorContext("nowhere.py")
    context.values["settings"] = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))

    def needs_cluster(context: DoctorContext) -> Iterator[CheckResult]:
        assert context.admin
        yield ok("never")

    def needs_pipeline(context: DoctorContext) -> Iterator[CheckResult]:
        assert context.pipeline
        yield ok("never")

    began = time.monotonic()
    checks = [
        Check("x", asks) for asks in (needs_cluster, needs_pipeline, needs_cluster, needs_pipeline)
    ]
    found = list(run_checks(checks, context))
    assert time.monotonic() - began < 9 * PATIENCE
    assert [one.level for one in found] == ["problem", "problem", "skipped", "skipped"]
    assert found[0].message.startswith("Kafka at 127.0.0.1:1 cannot be reached")
    assert "nowhere.py cannot be read" in found[1].message
    assert [one.message for one in found[2:]] == ["needs the cluster", "needs the pipeline"]


def test_checks_of_a_pipeline_are_skipped_without_one() -> None:
    def asks(context: DoctorContext) -> Iterator[CheckResult]:
        yield ok(context.pipeline.name)

    assert [
        (one.level, one.message) for one in run_checks([Check("x", asks)], DoctorContext(None))
    ] == [("skipped", "needs a PIPELINE")]


def test_the_report_lists_problems_last_with_their_remedies() -> None:
    found = [
        problem("broken", "fix it"),
        ok("fine"),
        warning("odd", "look at it"),
        skipped("not looked at"),
    ]
    text = StringIO()
    Console(file=text, width=60).print(render([ReportedResult("area", *one) for one in found]))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert lines == [
        "✓ area  fine",
        "· area  not checked: not looked at",
        "! area  odd",
        "        → look at it",
        "✗ area  broken",
        "        → fix it",
        "",
        "1 problem, 1 warning",
    ]


def test_a_hanging_check_and_the_later_ones_share_no_client() -> None:
    used: list[dict[str, object]] = []
    begun, ended = Event(), Event()

    def hangs(context: DoctorContext) -> Iterator[CheckResult]:
        used.append(context.values)
        assert begun.wait(60)
        context.values["late"] = used
        ended.set()
        yield ok("late")

    def later(context: DoctorContext) -> Iterator[CheckResult]:
        begun.set()
        assert ended.wait(60)
        used.append(context.values)
        yield ok("fine")

    list(run_checks([Check("a", hangs, limit=0.2), Check("b", later)], DoctorContext(None)))
    assert "late" in used[0]
    assert "late" not in used[1]
