"""Outcomes and summary of a simulation, as JSON for programs and as text for people."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from stream_app.core.reading.record_reader import Event, LabelEvent
from stream_app.formatting import counted, iso_time
from stream_app.offline.record_outcomes import EventOutcome, LabelOutcome
from stream_app.offline.simulation import NOT_SENT, SimulatedRecord


def is_failed(simulated: SimulatedRecord) -> bool:
    """Return True if the line is not a record, or its record a dead letter."""
    return simulated.outcome is None or simulated.outcome.dead_letter is not None


def simulated_object(simulated: SimulatedRecord) -> dict[str, Any]:
    """Return all facts about a line, as `stream-app try --json` writes them."""
    line, outcome = simulated
    fields: dict[str, Any] = {
        "kind": line.kind,
        "line": line.number,
        "outcome": outcome.kind if outcome else NOT_SENT,
        **_meaning(line.meaning),
    }
    if isinstance(outcome, EventOutcome) and outcome.record is not None:
        record = outcome.record
        fields |= {
            "score": record["score"],
            "prediction": record["prediction"],
            "probabilities": record["probabilities"],
            "imputed": record["imputed"],
            "degraded": record["degraded"],
        }
        fields |= {"model_version": outcome.model_version, "features": outcome.features}
        if outcome.fields is not None:
            fields["fields"] = outcome.fields
    elif isinstance(outcome, LabelOutcome) and outcome.example is not None:
        fields |= {"score": outcome.example.score, "model_version": outcome.example.model_version}
    if is_failed(simulated):
        fields["error"] = _error(simulated)
    return fields


def _meaning(meaning: Event | LabelEvent | None) -> dict[str, Any]:
    match meaning:
        case Event():
            return {"event_id": meaning.event_id, "event_time": meaning.event_time}
        case LabelEvent():
            return {
                "event_id": meaning.event_id,
                "label": meaning.label,
                "label_time": meaning.label_time,
            }
    return {}


def _error(simulated: SimulatedRecord) -> dict[str, Any]:
    if simulated.outcome is None or simulated.outcome.dead_letter is None:
        return {"code": NOT_SENT, "message": simulated.line.problem}
    dead_letter = simulated.outcome.dead_letter
    names = ("code", "stage", "message", "where", "remedy")
    return {name: getattr(dead_letter, name) for name in names}


def json_line(fields: dict[str, Any]) -> bytes:
    """Return one line of JSON."""
    return orjson.dumps(fields) + b"\n"


def text_line(simulated: SimulatedRecord) -> str:
    """Return one line of text, which may be cut at the right."""
    line, outcome = simulated
    place = f"{line.kind} {line.number:>6}"
    if is_failed(simulated):
        error = _error(simulated)
        where = f" ({error['where']})" if error.get("where") else ""
        return f"{place}  {error['code']}: {error['message']}{where}"
    if isinstance(outcome, EventOutcome) and outcome.record is not None:
        features = " ".join(
            f"{name}={_short(value)}" for name, value in (outcome.features or {}).items()
        )
        time, prediction = (
            iso_time(outcome.record["event_time"])[:16],
            f"{_short(outcome.prediction):<5}",
        )
        fallback = f"  ({outcome.record['degraded']})" if outcome.record["degraded"] else ""
        return f"{place}  {time}  {outcome.score:.3f} {prediction}  {features}{fallback}"
    # A line without an outcome has failed, and is handled above.
    assert outcome is not None
    return f"{place}  {outcome.kind}"


def _short(value: Any) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


_BASELINES = {
    "log_loss": "prior_log_loss",
    "accuracy": "majority_accuracy",
    "mae": "mean_mae",
    "rmse": "mean_rmse",
}
_UNINFORMED = {"roc_auc": 0.5, "kappa": 0.0, "kappa_temporal": 0.0, "r2": 0.0}
_NAMES = {"dead_lettered": "dead-lettered", "not_sent": "not sent"}
# Windows shown, and lines shown of each cause.
_MAX_WINDOWS = 10
_MAX_LINES = 5

Summary = Mapping[str, Any]


def summary_lines(summary: Summary) -> Iterator[str]:
    """Yield the lines of the summary, without empty parts."""
    for warning in summary["warnings"]:
        yield f"warning       {warning}."
    yield f"events        {_outcomes(summary['events'])}"
    if summary["order"]["displaced_events"]:
        yield f"order         {summary['order']['text']}"
    if summary["degraded"]:
        degraded = f"{summary['degraded']:,} of them"
        yield f"fallback      scored {degraded}, because the model failed or was too slow"
    if summary["labels"]["read"]:
        yield f"labels        {_outcomes(summary['labels'])}"
        yield from _coverage(summary)
    yield from _causes(summary["causes"])
    yield from _bounds(summary["proposed_bounds"])
    yield ""
    if summary["model"]["learned"]:
        yield from _model(summary)
    if summary["alarms"]:
        yield "alarms        " + ", ".join(
            f"{name} {count}" for name, count in summary["alarms"].items()
        )
    yield from _time(summary)
    if not summary["complete"]:
        yield "Stopped before the end; this is what was simulated until then."


def _outcomes(counts: Mapping[str, Any]) -> str:
    """Return the number of records read, and of each outcome."""
    totals = {
        name: sum(count.values()) if isinstance(count, dict) else count
        for name, count in counts.items()
    }
    parts = [_outcome(name, count) for name, count in totals.items() if count and name != "read"]
    return f"{totals['read']:,}: " + (", ".join(parts) or "none")


def _outcome(name: str, count: int) -> str:
    return (
        counted(count, name.removesuffix("s"))
        if name in ("duplicates", "tombstones")
        else f"{count:,} {_NAMES.get(name, name)}"
    )


def _coverage(summary: Summary) -> Iterator[str]:
    delay = summary["label_delay_hours"]
    if summary["labels"]["joined"]:
        yield (
            f"coverage      {summary['label_coverage']:.0%} of the scored events have their label, "
            f"half of them within {delay['p50']:g} h, 95% within {delay['p95']:g} h"
        )


def _bounds(proposed: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the proposed bounds as lines to paste."""
    if proposed:
        yield ""
        yield "bounds        no bounds are declared for these numbers; proposal for `clean`:"
        for one in proposed:
            yield f"    {one['line']},  # {one['reason']}"


def _causes(causes: list[dict[str, Any]]) -> Iterator[str]:
    for cause in causes:
        where = f" ({cause['where']})" if cause["where"] else ""
        yield ""
        yield f"{cause['count']:,} x {cause['code']}: {cause['message']}{where}"
        yield f"    {cause['kind']}s in {_places(cause)}. {cause['remedy']}"
        yield from (f"    | {line}" for line in cause["stack"].splitlines())


def _places(cause: Mapping[str, Any]) -> str:
    """Return the first lines or coordinates, and how many more there are.

    >>> _places({"lines": [7], "count": 1}), _places({"lines": [1, 2, 3, 4, 5, 6], "count": 1200})
    ('line 7', 'lines 1, 2, 3, 4, 5 and 1,195 more')
    """
    more = f" and {cause['count'] - _MAX_LINES:,} more" if cause["count"] > _MAX_LINES else ""
    numbers = ", ".join(map(str, cause["lines"][:_MAX_LINES]))
    if isinstance(cause["lines"][0], str):
        return f"{numbers}{more}"
    return f"line{'s' if cause['count'] > 1 else ''} {numbers}{more}"


def _model(summary: Summary) -> Iterator[str]:
    model, metrics = summary["model"], summary["metrics"]
    skipped = f", {model['unlearnable']:,} could not be learned" if model["unlearnable"] else ""
    left_out = sum(model["not_learned"].values())
    skipped += f", {left_out:,} excluded or of a paused source" if left_out else ""
    learned = f"{model['learned']:,} labels learned{skipped}"
    yield f"model         version {model['version']:,}, {learned}"
    yield ""
    yield _row("", dict(zip(metrics, metrics, strict=True)))
    for window in _first_and_last(summary["windows"]):
        title = f"{window['start'][:16]} n={window['n']}" if window else "..."
        yield _row(title, {name: window.get(name) for name in metrics})
    yield _row("all, as served", metrics)
    yield _row("without a model", {name: _no_model(name, summary) for name in metrics})
    yield ""


def _first_and_last(windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first and last windows, with an empty one for those between."""
    half = _MAX_WINDOWS // 2
    return windows if len(windows) <= _MAX_WINDOWS else [*windows[:half], {}, *windows[-half:]]


def _row(title: str, cells: Mapping[str, object]) -> str:
    """Return one line of the table; cells are numbers, texts or None by column."""
    texts = [f"{cell:.3f}" if isinstance(cell, float) else cell or "-" for cell in cells.values()]
    return f"{title:<24}" + "".join(
        f"{text:>{max(len(name), 6) + 2}}" for name, text in zip(cells, texts, strict=True)
    )


def _no_model(name: str, summary: Summary) -> float | None:
    """Return the value of the metric without a model."""
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
