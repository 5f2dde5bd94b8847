"""Measurements, alarms and corrective actions are described in words."""

import pytest

from stream_app.core.alarms.alarm_record import AlarmRecord
from stream_app.core.monitoring.alarms import CorrectiveActions, LastingAlarms
from stream_app.core.published_records import (
    ExampleOffsets,
    LimitCheck,
    Measurement,
    ValueInterval,
)
from stream_app.transfer.record_rendering import alarm_text, measurement_text

NOW = 1_700_000_000_000


def text(measurement: Measurement) -> str | None:
    return measurement_text(measurement._replace(source="score[0]").output("p").value)


def test_a_measurement_has_its_value_limit_and_window() -> None:
    one = Measurement(
        "drift", "score", NOW, NOW + 3_600_000, 1234, 0.31, LimitCheck(0.25, True), "fixed", 7
    )
    found = measurement_text(one.output("p").value)
    assert found == (
        "0.31 (limit 0.25)  BREACHED  n 1,234  "
        "2023-11-14T22:13:20 to 2023-11-14T23:13:20  fixed  version 7"
    )
    uncertain = one._replace(interval=ValueInterval(0.28, 0.34))
    shown = measurement_text(uncertain.output("p").value) or ""
    assert shown.startswith("0.31 [0.28 to 0.34] (limit 0.25)  BREACHED")


def test_the_examples_of_an_experimentation_are_given_by_offsets() -> None:
    one = Measurement(
        "experimentation_needed", "log_loss", NOW, NOW, 9, examples=ExampleOffsets(100, 320)
    )
    assert (text(one) or "").endswith("  examples 100 to 320")


def test_a_corrective_action_has_its_count_cause_and_source() -> None:
    actions = CorrectiveActions()
    actions.add("impute", "amount", NOW, 1200)
    (report,) = actions.due(NOW)
    assert (
        text(report)
        == "1,200 times  for amount  2023-11-14T22:13:20 to 2023-11-14T22:13:20  score[0]"
    )


def test_a_lasting_alarm_is_ongoing_or_ended() -> None:
    alarms = LastingAlarms()
    alarms.raise_("breaker-open", "TimeoutError", NOW, 0.7, 0.5)
    alarms.end("breaker-open", NOW + 5000)
    opened, ended = map(text, alarms.due(NOW + 5000))
    assert opened is not None
    assert opened.startswith(
        "ongoing  0.7 (limit 0.5)  for TimeoutError  raised once  2023-11-14T22:13:20 to"
    )
    assert ended is not None
    assert ended.startswith("ended")


def test_an_alarm_of_the_monitor_is_described() -> None:
    alarm = AlarmRecord("event-volume", "events", NOW, NOW, NOW, None, 2.0, 1, "few events")
    assert alarm_text(alarm.output("p").value) == (
        "open  few events  since 2023-11-14T22:13  last 2023-11-14T22:13  strength 2  once"
    )
    closed = alarm._replace(closed_at=NOW, n=2, examples=ExampleOffsets(3, 9)).output("p").value
    assert (alarm_text(closed) or "").startswith("closed at 2023-11-14T22:13  few events  since")
    assert (alarm_text(closed) or "").endswith("2 times  examples 3 to 9")
    assert alarm_text(b'{"name": "event-volume", "until": 3}') is None


@pytest.mark.parametrize(
    "value", [None, b"", b"[]", b"3", b"{}", b'{"window": 3}', b"\0\0\0\0\7avro"]
)
def test_another_record_has_no_text(value: bytes | None) -> None:
    assert measurement_text(value) is None
