"""A simulation says first what makes its other results meaningless."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from river import linear_model, multiclass, preprocessing

from stream_app.loading import complete
from stream_app.offline.simulation import open_simulation
from stream_app.offline.simulation_rendering import summary_lines
from stream_app.offline.simulation_summary import summarise
from stream_app.pipeline import Pipeline
from tests.small_pipeline import HOUR, NOW, event, label, labelled, small_pipeline

Records = Sequence[dict[str, Any]]


def simulated(
    folder: Path, events: Records, labels: Records, pipeline: Pipeline | None = None, **options: Any
) -> dict[str, Any]:
    """Return the summary of a simulation of records."""
    for name, records in (("events", events), ("labels", labels)):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    declared = complete(pipeline or small_pipeline())
    files = str(folder / "events"), str(folder / "labels")
    with open_simulation(declared, *files, file_format="json", **options) as (simulation, _):
        list(simulation)
        return summarise(simulation, 1.0, complete=True)


def first_lines(summary: dict[str, Any]) -> str:
    lines = list(summary_lines(summary))
    return "\n".join(lines[: next(n for n, line in enumerate(lines) if line.startswith("events"))])


def test_good_files_have_no_warning(tmp_path: Path) -> None:
    hours = range(30)
    found = simulated(
        tmp_path,
        [event(n, NOW + n * HOUR) for n in hours],
        [label(n, NOW + (n + 1) * HOUR) for n in hours],
    )
    assert found["warnings"] == []
    assert found["label_delay_hours"] == {"p50": 1.0, "p95": 1.0, "max": 1.0}


def test_labels_that_are_all_rejected_are_said_first(tmp_path: Path) -> None:
    events = [event(n) for n in range(5)]
    for labels, limit in (
        ([label(n, fraud=1) for n in range(5)], None),
        ([label(n, fraud=1) for n in range(5)], 5),
    ):
        text = first_lines(simulated(tmp_path, events, labels, limit=limit))
        assert text == (
            "warning       No label was joined: all 5 labels were rejected, 5 as wrong-type: "
            "field fraud: expected boolean, got integer."
        )


def test_the_first_failure_of_learning_is_shown(tmp_path: Path) -> None:
    pipeline = small_pipeline(
        label=labelled("string"),
        features=lambda fields: {"amount": fields["amount"], "country": fields["country"]},
        model=lambda: (
            preprocessing.StandardScaler()
            | multiclass.OneVsRestClassifier(linear_model.LogisticRegression())
        ),
    )
    found = simulated(
        tmp_path,
        [event(n, NOW + n) for n in range(20)],
        [label(n, fraud="ab"[n % 2]) for n in range(20)],
        pipeline,
    )
    assert first_lines(found).startswith(
        "warning       Nothing was learned: the model failed on all of the 20 joined labels: "
        "TypeError in StandardScaler.learn_one, feature country (str)"
    )
    (cause,) = (cause for cause in found["causes"] if cause["code"] == "not-learned")
    assert (cause["count"], cause["stage"], cause["lines"][0]) == (20, "learn", 1)
    assert cause["where"].startswith("scale.py:")


def seconds(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "at": record["at"] // 1000}


def test_times_in_seconds_are_suspected(tmp_path: Path) -> None:
    found = simulated(tmp_path, [seconds(event(n)) for n in range(5)] + [event(6)], [])
    assert found["events"]["scored"] == 6
    assert "The time of 5 of 6 events is in January 1970, as if its unit" in first_lines(found)


def test_the_message_about_a_time_in_microseconds_suspects_the_unit(tmp_path: Path) -> None:
    found = simulated(tmp_path, [event(1, NOW * 1000), event(2, NOW * 1_000_000)], [])
    assert [cause["message"].split("got ")[1] for cause in found["causes"]] == [
        f"integer that seems to be in {unit}, not in milliseconds"
        for unit in ("microseconds", "nanoseconds")
    ]


def shuffled(order: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return order([event(n, NOW + n * HOUR) for n in range(200)])


def test_events_that_are_not_in_the_order_of_time_are_said_or_sorted(tmp_path: Path) -> None:
    # `consume raw --json` writes them partition by partition.
    labels = [label(n, NOW + (n + 2) * HOUR) for n in range(200)]
    events = shuffled(lambda every: every[::2] + every[1::2])
    found = simulated(tmp_path, events, labels)
    assert found["events"]["scored"] < 200
    assert " come after one whose time is later by more than allowed_lateness" in first_lines(found)
    found = simulated(tmp_path, events, labels, sort=True)
    assert (found["warnings"], found["events"]["scored"]) == ([], 200)
    assert found["labels"]["joined"] == 200


def test_bounds_are_proposed_as_lines_to_paste(tmp_path: Path) -> None:
    events = [event(n, amount=float(n)) for n in range(1, 100)]
    found = simulated(tmp_path, [*events, *(event(n, amount=1e200) for n in range(100, 110))], [])
    lines = list(summary_lines(found))
    at = next(n for n, line in enumerate(lines) if line.startswith("bounds"))
    assert lines[at + 1].startswith('    Between("amount", 0, ')
    assert lines[at + 1].endswith("10 are outside")
