"""The summary of a trial as lines for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from stream_app.formatting import counted

_BASELINES = {
    "log_loss": "prior_log_loss",
    "accuracy": "majority_accuracy",
    "mae": "mean_mae",
    "rmse": "mean_rmse",
}
_UNINFORMED = {"roc_auc": 0.5, "kappa": 0.0, "kappa_temporal": 0.0, "r2": 0.0}
_NAMES = {"dead_lettered": "dead-lettered", "not_sent": "not sent"}
_WINDOWS = 10  # shown
_LINES = 5  # likewise, of each cause

Summary = Mapping[str, Any]


def summary_lines(summary: Summary) -> Iterator[str]:
    """The summary, part by part, without what is empty."""
    yield f"events        {_outcomes(summary['events'])}"
    if summary["degraded"]:
        yield f"fallback      scored {summary['degraded']:,} of them, because the model failed or was too slow"
    if summary["labels"]["read"]:
        yield f"labels        {_outcomes(summary['labels'])}"
        yield from _coverage(summary)
    yield from _causes(summary["causes"])
    yield ""
    if summary["model"]["learned"]:
        yield from _model(summary)
    if summary["alarms"]:
        yield "alarms        " + ", ".join(
            f"{name} {count}" for name, count in summary["alarms"].items()
        )
    yield from _time(summary)
    if not summary["complete"]:
        yield "Stopped before the end; this is what was tried until then."


def _outcomes(counts: Mapping[str, Any]) -> str:
    """All records read, and what became of them."""
    totals = {
        name: sum(count.values()) if isinstance(count, dict) else count
        for name, count in counts.items()
    }
    parts = [_outcome(name, count) for name, count in totals.items() if count and name != "read"]
    return f"{totals['read']:,}: " + (", ".join(parts) or "none")


def _outcome(name: str, count: int) -> str:
    return (
        counted(count, "duplicate")
        if name == "duplicates"
        else f"{count:,} {_NAMES.get(name, name)}"
    )


def _coverage(summary: Summary) -> Iterator[str]:
    delay = summary["label_delay_hours"]
    if summary["labels"]["joined"]:
        yield (
            f"coverage      {summary['label_coverage']:.0%} of the scored events have their label, "
            f"half of them within {delay['p50']:g} h, 95% within {delay['p95']:g} h"
        )


def _causes(causes: list[dict[str, Any]]) -> Iterator[str]:
    for cause in causes:
        where = f" ({cause['where']})" if cause["where"] else ""
        yield ""
        yield f"{cause['count']:,} x {cause['code']}: {cause['message']}{where}"
        yield f"    {cause['kind']}s in {_places(cause)}. {cause['remedy']}"
        yield from (f"    | {line}" for line in cause["stack"].splitlines())


def _places(cause: Mapping[str, Any]) -> str:
    """The first lines, and how many more there are.

    >>> _places({"lines": [7], "count": 1}), _places({"lines": [1, 2, 3, 4, 5, 6], "count": 1200})
    ('line 7', 'lines 1, 2, 3, 4, 5 and 1,195 more')
    """
    more = f" and {cause['count'] - _LINES:,} more" if cause["count"] > _LINES else ""
    return f"line{'s' if cause['count'] > 1 else ''} {', '.join(map(str, cause['lines'][:_LINES]))}{more}"


def _model(summary: Summary) -> Iterator[str]:
    model, metrics = summary["model"], summary["metrics"]
    skipped = f", {model['unlearnable']:,} could not be learned" if model["unlearnable"] else ""
    yield f"model         version {model['version']:,}, {model['learned']:,} labels learned{skipped}"
    yield ""
    yield _row("", dict(zip(metrics, metrics, strict=True)))
    for window in _some(summary["windows"]):
        title = f"{window['start'][:16]} n={window['n']}" if window else "..."
        yield _row(title, {name: window.get(name) for name in metrics})
    yield _row("all, as served", metrics)
    yield _row("without a model", {name: _no_model(name, summary) for name in metrics})
    yield ""


def _some(windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last, with an empty one for those between."""
    half = _WINDOWS // 2
    return windows if len(windows) <= _WINDOWS else [*windows[:half], {}, *windows[-half:]]


def _row(title: str, cells: Mapping[str, object]) -> str:
    """One line of the table; `cells` are numbers, texts or None by the name of their column."""
    texts = [f"{cell:.3f}" if isinstance(cell, float) else cell or "-" for cell in cells.values()]
    return f"{title:<24}" + "".join(
        f"{text:>{max(len(name), 6) + 2}}" for name, text in zip(cells, texts, strict=True)
    )


def _no_model(name: str, summary: Summary) -> float | None:
    """What no model at all would have reached."""
    return (
        summary["baselines"].get(_BASELINES.get(name, ""))
        if name in _BASELINES
        else _UNINFORMED.get(name)
    )


def _time(summary: Summary) -> Iterator[str]:
    read, seconds = summary["events"]["read"] + summary["labels"]["read"], summary["seconds"]
    yield f"time          {seconds:g} s, {read / max(seconds, 0.01):,.0f} records/s"
    stages = ", ".join(
        f"{stage} {time:g}" for stage, time in summary["microseconds"].items() if time
    )
    yield f"microseconds  {stages}"
