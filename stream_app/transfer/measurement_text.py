"""A record of `<pipeline>.monitoring` in words, for people."""

from typing import Any

import orjson

from stream_app.core.measurement import lasts
from stream_app.formatting import iso_time


def measurement_text(value: bytes | None) -> str | None:
    """What a measurement, an alarm or a corrective action says, without its kind and name, which are its key.

    None for what is no measurement, for anyone may write to a topic.
    """
    try:
        fields = orjson.loads(value or b"")
        return "  ".join(part for part in _parts(fields) if part)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


def _parts(fields: dict[str, Any]) -> list[str]:
    window, source, reference = fields["window"], fields.get("source"), fields["reference"]
    when = f"{iso_time(window['start'])[:19]} to {iso_time(window['end'])[:19]}"
    times = "once" if fields["n"] == 1 else f"{fields['n']:,} times"
    if fields["kind"] == "corrective_action":
        return [times, f"for {reference}", when, source or ""]
    if lasts(fields):
        verdict = "lasts" if fields["breached"] else "has ended"
        return [verdict, _value(fields), f"for {reference}", f"raised {times}", when, source or ""]
    version, examples = fields["model_version"], fields.get("examples")
    return [
        _value(fields),
        "BREACHED" if fields["breached"] else "",
        f"n {fields['n']:,}",
        when,
        reference or "",
        "" if version is None else f"version {version}",
        f"examples {examples['first']} to {examples['last']}" if examples else "",
    ]


def _value(fields: dict[str, Any]) -> str:
    limit = "" if fields["threshold"] is None else f" (limit {fields['threshold']:,.6g})"
    return "" if fields["value"] is None else f"{fields['value']:,.6g}{limit}"
