"""Alarms and labels, as the monitoring topic tells of them."""

from typing import Any

from stream_app.status.measured import RECENT_MS, Written, alarms, label_status

NOW = 1_700_000_000_000
DAY = 86_400_000


def written(kind: str, name: str, window: int, breached: bool = False, **changes: Any) -> Written:
    """A measurement of the window that ends `window` days after the epoch, written so many seconds before now."""
    fields = {
        "kind": kind,
        "name": name,
        "window": {"start": (window - 1) * DAY, "end": window * DAY},
        "reference": None,
        "n": 10,
        "value": 1.0,
        "threshold": 0.5,
        "breached": breached,
        "model_version": 3,
    }
    return Written(NOW - 1000 * (100 - window), fields | changes)


def test_an_alarm_goes_on_until_a_window_is_well_again() -> None:
    found = alarms(
        [
            written("performance", "log_loss", 1, True, value=0.8),
            written("drift", "score", 1, True, reference="fixed"),
            written("drift", "score", 1, False, reference="trailing"),
            written("performance", "log_loss", 2, True, value=0.9),
            written("drift", "score", 2, False, reference="fixed"),
        ],
        NOW,
    )
    assert [(a.kind, a.reference, a.count, a.value, a.ongoing) for a in found] == [
        ("performance", None, 2, 0.9, True),
        ("drift", "fixed", 1, 1.0, False),
    ]
    assert found[0].window_end == "1970-01-03T00:00:00.000+00:00"


def test_what_happens_at_a_moment_neither_goes_on_nor_is_over() -> None:
    cases = [written("unlearnable", "empty", 1, True, reference=f"offset {n}") for n in range(3)]
    (found,) = alarms(cases, NOW)
    assert (found.count, found.ongoing, found.reference) == (3, None, "offset 2")


def test_old_alarms_are_history() -> None:
    old = written("performance", "log_loss", 1, True)
    assert alarms([old], old.at + RECENT_MS) == ()
    assert len(alarms([old], old.at + RECENT_MS - 1)) == 1


def test_labels_are_those_of_the_newest_window() -> None:
    found = label_status(
        [
            written("coverage", "label_coverage", 1, value=0.1),
            written("coverage", "label_coverage", 2, value=0.9),
            written("delay", "p50", 1, value=1.0),
            written("delay", "p50", 2, value=2.0),
            written("delay", "p95", 2, value=3.0),
        ]
    )
    assert (found.coverage, found.delay_p50, found.delay_p95, found.delay_max) == (0.9, 2.0, 3.0, None)
    assert label_status([]).coverage is None
