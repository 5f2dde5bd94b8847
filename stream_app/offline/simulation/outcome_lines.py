"""What became of a line, as JSON for programs and as text for people."""

from typing import Any

import orjson

from stream_app.core.reading.record_reader import Event, LabelEvent
from stream_app.formatting import iso_time
from stream_app.offline.record_outcomes import EventOutcome, LabelOutcome
from stream_app.offline.simulation.simulation import NOT_SENT, SimulatedRecord


def failed(tried: SimulatedRecord) -> bool:
    """Whether the line is no record, or its record a dead letter."""
    return tried.outcome is None or tried.outcome.dead_letter is not None


def as_object(tried: SimulatedRecord) -> dict[str, Any]:
    """Every fact about a line; see `stream-app try --json` in the documentation."""
    line, outcome = tried
    found: dict[str, Any] = {
        "kind": line.kind,
        "line": line.number,
        "outcome": outcome.kind if outcome else NOT_SENT,
        **_meaning(line.meaning),
    }
    if isinstance(outcome, EventOutcome) and outcome.record is not None:
        names = ("score", "prediction", "probabilities", "imputed", "degraded")
        found |= {name: outcome.record[name] for name in names}
        found |= {"model_version": outcome.model_version, "features": outcome.features}
    elif isinstance(outcome, LabelOutcome) and outcome.example is not None:
        found |= {"score": outcome.example.score, "model_version": outcome.example.model_version}
    if failed(tried):
        found["error"] = _error(tried)
    return found


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


def _error(tried: SimulatedRecord) -> dict[str, Any]:
    if tried.outcome is None or tried.outcome.dead_letter is None:
        return {"code": NOT_SENT, "message": tried.line.problem}
    letter = tried.outcome.dead_letter
    names = ("code", "stage", "message", "where", "remedy")
    return {name: getattr(letter, name) for name in names}


def json_line(fields: dict[str, Any]) -> bytes:
    """One line of JSON."""
    return orjson.dumps(fields) + b"\n"


def text_line(tried: SimulatedRecord) -> str:
    """A line for people, which may be cut at the right."""
    line, outcome = tried
    place = f"{line.kind} {line.number:>6}"
    if failed(tried):
        error = _error(tried)
        where = f" ({error['where']})" if error.get("where") else ""
        return f"{place}  {error['code']}: {error['message']}{where}"
    if isinstance(outcome, EventOutcome) and outcome.record is not None:
        features = " ".join(
            f"{name}={_short(value)}" for name, value in (outcome.features or {}).items()
        )
        time, verdict = (
            iso_time(outcome.record["event_time"])[:16],
            f"{_short(outcome.prediction):<5}",
        )
        fallback = f"  ({outcome.record['degraded']})" if outcome.record["degraded"] else ""
        return f"{place}  {time}  {outcome.score:.3f} {verdict}  {features}{fallback}"
    assert outcome is not None  # or it has failed
    return f"{place}  {outcome.kind}"


def _short(value: Any) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
