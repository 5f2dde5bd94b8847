"""Payloads and models of the benchmarks; contenders find theirs in the environment."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import stream_app.examples

EXAMPLES = Path(stream_app.examples.__file__ or "").parent
MODELS = {
    "logistic": "logistic regression",
    "tree": "Hoeffding tree",
    "forest": "adaptive random forest of 10 trees",
}
PAYLOADS = {"small": "200 B", "flights": "320 B", "large": "2 kB"}

WIDE_NUMBERS = tuple(f"measurement_{number:02}" for number in range(36))
WIDE_TEXTS = tuple(f"description_{number:02}" for number in range(20))
"""Further fields of a large payload, which makes 2 kB of the 320 bytes of a flight."""

OPTIONAL = frozenset(
    {"tail_number", "humidity", "wind_speed", "precipitation", "pressure", "visibility"}
)
"""Fields that a small payload leaves out, which makes 200 bytes of a flight."""


class Workload(NamedTuple):
    """Work of one run.

    Attributes:
        payload: one of `PAYLOADS`.
        model: one of `MODELS`.
    """

    payload: str = "flights"
    model: str = "logistic"

    def __str__(self) -> str:
        return f"{PAYLOADS[self.payload]}, {MODELS[self.model]}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for `from_environment`."""
        return {"BENCH_PAYLOAD": self.payload, "BENCH_MODEL": self.model}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Workload":
        """Returns the workload of this process."""
        return cls(
            environment.get("BENCH_PAYLOAD", cls().payload),
            environment.get("BENCH_MODEL", cls().model),
        )


def schema(payload: str) -> dict[str, Any]:
    """Returns the Avro schema of a payload."""
    flights: dict[str, Any] = json.loads((EXAMPLES / "flights.avsc").read_text())
    if payload == "large":
        flights["fields"] += [
            *({"name": name, "type": "double"} for name in WIDE_NUMBERS),
            *({"name": name, "type": "string"} for name in WIDE_TEXTS),
        ]
    return flights


def to_payload(flight: dict[str, Any], payload: str) -> dict[str, Any]:
    """Returns the event of a flight with the fields of a payload.

    >>> to_payload({"event_id": "a", "humidity": 1.5}, "small")
    {'event_id': 'a'}
    """
    if payload == "small":
        return {name: value for name, value in flight.items() if name not in OPTIONAL}
    if payload == "large":
        distance = flight["distance"]
        return {
            **flight,
            **{name: distance + at / 8 for at, name in enumerate(WIDE_NUMBERS)},
            **{
                name: f"{flight['carrier']} to {flight['dest']}, seat {at}A"
                for at, name in enumerate(WIDE_TEXTS)
            },
        }
    return flight
