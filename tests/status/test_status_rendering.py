"""The text of the status uses the height of a terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from stream_app.status.status_model import (
    ExclusionStatus,
    InputStatus,
    LabelStatus,
    LearningPause,
    MonitorAlarm,
    RecentDeadLetters,
    RecordCountTotals,
    RoleStatus,
    SilenceStatus,
    Status,
    ThresholdStatus,
    WindowStatus,
)
from stream_app.status.status_rendering import fit, render, summary_lines

COUNTS = RecordCountTotals(
    0, 0, 0, 0, 0, 0, 0, {}, 0, 0, 0, 0, 0, {}, 0, 0, 0, 0, 0, 0, 0, 0, {}, True, 0
)


def status(inputs: int) -> Status:
    """Return the status of a pipeline with so many input partitions."""
    read = tuple(
        InputStatus("score", "p.raw", number, "score-0", 0, 9, 9, 1.0 + number, 0)
        for number in range(inputs)
    )
    return Status(
        pipeline="p",
        cluster="kafka:9092",
        at="2026-01-01T00:00:00Z",
        started=True,
        healthy=True,
        problems=(),
        roles=(RoleStatus("score", "p.score", True, True, ()),),
        inputs=read,
        rates=None,
        model=None,
        record_counts=COUNTS,
        recent_dead_letters=RecentDeadLetters(10, True, {}, {}),
        labels=LabelStatus(),
        windows=WindowStatus(),
        alarms=(),
        corrective_actions=(),
        partitions=(),
    )


def shown(height: int, *, terminal: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, height=height)
    lines = console.render_lines(fit(status(40), console), pad=False)
    return ["".join(segment.text for segment in line) for line in lines]


def test_a_tall_terminal_shows_every_row() -> None:
    lines = shown(100)
    assert sum("score ← raw[" in line for line in lines) == 40
    assert not any("more" in line for line in lines)


@pytest.mark.parametrize("height", [30, 40, 50])
def test_a_terminal_is_filled_and_not_exceeded(height: int) -> None:
    lines = shown(height)
    rows = sum("score ← raw[" in line for line in lines)
    assert len(lines) == height - 1
    assert any(f"and {40 - rows} more" in line for line in lines)


@pytest.mark.parametrize(("height", "terminal"), [(10, True), (100, False)])
def test_a_low_terminal_and_a_file_get_the_fewest_rows(height: int, terminal: bool) -> None:
    lines = shown(height, terminal=terminal)
    assert any("and 32 more" in line for line in lines)


def test_the_summary_names_what_is_not_learned() -> None:
    assert "learning" not in summary_lines(status(1))
    at, who = "2026-01-01T00:00:00Z", "ann@here"
    limited = replace(
        status(1),
        pauses=(
            LearningPause(None, at, who, "wrong"),
            LearningPause("bank", at, who, "empty"),
        ),
        exclusions=(ExclusionStatus(2, at, at, "bank", at, who, "inverted"),),
    )
    assert summary_lines(limited)["learning"] == (
        "paused since 2026-01-01T00:00 by ann@here: wrong; "
        "paused from bank since 2026-01-01T00:00 by ann@here: empty; "
        "exclusion 2 of labels of bank from 2026-01-01T00:00 to 2026-01-01T00:00 by ann@here: "
        "inverted"
    )


def test_alarms_of_the_monitor_have_their_states_and_silences_a_line() -> None:
    at = "2026-03-01T06:00:00.000+00:00"
    id_ = "label-flips/bank/2026-03-01T06:00Z"
    alarm = MonitorAlarm(
        id_, "label-flips", "bank", "acknowledged", True, at, at, at, None, 2.5, 3, "flipped", (),
        (1, 2), "by ann@x at 2026-03-01T07:00: \x1b[2Jasked",
    )  # fmt: skip
    found = replace(
        status(1),
        open_alarms=(alarm,),
        silences=(SilenceStatus("event-volume", "events", at, at, "bob@x", "a strike"),),
    )
    console = Console(file=io.StringIO(), width=200)
    console.print(render(found))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    (line,) = [one for one in text.splitlines() if id_ in one]
    assert line.split()[:3] == [id_, "acknowledged", "2026-03-01T06:00"]
    assert line.rstrip().endswith(
        "2.5      3  flipped; acknowledged by ann@x at 2026-03-01T07:00: \\x1b[2Jasked"
    )
    assert "event-volume of events until 2026-03-01T06:00 by bob@x: a strike" in text


def test_the_summary_has_the_intervals_of_metrics_with_a_threshold() -> None:
    assert "thresholds" not in summary_lines(status(1))
    at = "2026-01-01T00:00:00Z"
    limited = replace(
        status(1),
        thresholds=(
            ThresholdStatus("log_loss", 0.52, 0.4567, 0.5833, 0.5, True, 1200, at),
            ThresholdStatus("f1", None, None, None, 0.1, False, 1, at),
        ),
    )
    assert summary_lines(limited)["thresholds"] == (
        "log_loss 0.52 (0.4567 to 0.5833) of 1,200 labels to 2026-01-01T00:00, beyond 0.5; "
        "f1 undefined of 1 label to 2026-01-01T00:00, within 0.1"
    )
