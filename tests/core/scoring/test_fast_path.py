"""Fast path of the scorer: its outcomes equal those of the full reading and the full checks."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.cleaning import Between, Impute, Normalise, NullIf, Rejected
from stream_app.core.reading import record_reader
from stream_app.core.reading.cleaning_steps import Cleaning, clean
from stream_app.core.reading.typed_decoding import FastDecoder
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.headers import VALUE_SCHEMA_ID
from stream_app.pipeline import CleaningStep
from stream_app.records import Features, Fields, Output, Record, output_size
from tests.core.reading.test_decoding import JSON
from tests.core.reading.test_record_reader import NOW, SENT, pipeline, schema

HOUR = 3_600_000


class Model:
    """Model that scores by the wind, and fails for zero."""

    name = "flights"
    version = 1

    def score(self, features: Features) -> float:
        return 1 / float(features["wind"])


def impute(fields: Fields) -> Fields:
    return {"wind": 4.0} if fields["wind"] is None else {}


impute.imputes = True  # type: ignore[attr-defined]  # declares that the step imputes


def reject(fields: Fields) -> Fields:
    if fields["carrier"] == "XX":
        raise Rejected("nobody")
    return {"at": fields["at"] if fields["carrier"] != "late" else None}


def scorer(changes: dict[str, Any], max_bytes: int) -> Scorer:
    state = PartitionState(0, horizon=48 * HOUR, lateness=HOUR)
    config = ScorerConfig(
        fingerprint="f" * 16, group="g", app_version="1", max_bytes=max_bytes, max_entries=1000
    )
    return Scorer(pipeline(**changes), config, state, lambda: 0.0)


STEPS: list[tuple[CleaningStep, ...]] = [
    (),
    (impute, reject),
    (Impute("wind", 4.0),),
    (
        Normalise("carrier"),
        reject,
        NullIf("id", (0,)),
        Between("wind", 0.0, 4.2),
        impute,
        Between("at", 0, NOW, otherwise="reject"),
    ),
]


def no_fast_decoder(schema: Any, validate: Any) -> FastDecoder:
    """Return a decoder that leaves every value to the full reading."""
    return lambda value: None


def step_by_step(steps: Sequence[CleaningStep]) -> Cleaning:
    return lambda fields: clean(fields, steps)


def outcomes(subject: Scorer, records: list[Record], labels: list[Record]) -> tuple[Any, ...]:
    """Return all outputs and the whole state."""
    made: list[Output] = []
    for one, label in zip(records, labels, strict=True):
        made += subject.score([one], Model(), NOW) + subject.join([label], Model(), NOW)
    return made, subject.failures, subject.state.entries, subject.state.final_records()


CHANGES: list[Fields] = [
    *({"id": value} for value in ("f2", "", "é", 1, 0, None, True, "x" * 3000)),
    *({"at": NOW + hours * HOUR} for hours in (-90, -24, 24, 25)),
    *({"at": value} for value in ("2023-11-14T10:00:00Z", "now", None)),
    *({"carrier": value} for value in ("XX", "late", "", 5, None, "x" * 3000)),
    *({"extra": value} for value in ([], [1, 2], ["x"], None, 7)),
    *({"wind": value} for value in (None, 2, 4.5, 0.0, 0.25, 1e300, "calm", [1])),
    {"other": {"a": [None]}},
]
HEADERS = st.sampled_from(
    [
        (),
        (),
        (),
        [(VALUE_SCHEMA_ID, b"?")],
        [("traceparent", b"00-1")],
        [("stream-app-replay-learn", b"no")],
        [("x", b"y" * 90)],
    ]
)


def sent(**changes: Any) -> tuple[bytes, str, Any]:
    """Return a record with its own key and without headers."""
    return orjson.dumps(SENT | changes), "right", ()


@st.composite
def sent_records(draw: st.DrawFn) -> tuple[bytes, str, Any]:
    """Draw value, kind of key and headers of a record that is mostly valid."""
    fields = dict(SENT)
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=2)):
        fields |= change
    value = draw(st.just(orjson.dumps(fields)) | JSON.map(orjson.dumps) | st.binary(max_size=9))
    return (
        value,
        draw(st.sampled_from(["right", "right", "right", "none", "None", "f1"])),
        draw(HEADERS),
    )


def raw(sent: tuple[bytes, str, Any], key_field: str) -> Record:
    value, kind, headers = sent
    try:
        right = str(orjson.loads(value)[key_field])
    except (ValueError, TypeError, KeyError):
        right = "f1"
    key = {"right": right.encode(), "none": None}.get(kind, kind.encode())
    return Record("flights.raw", 0, 7, NOW, key, value, headers)


@given(
    st.lists(sent_records(), max_size=6),
    st.sampled_from(STEPS),
    st.sampled_from(["", "carrier"]),
    st.sampled_from([24_000, 2**20]),
    st.sampled_from([(), ("wind",), ("at", "carrier", "id"), ("wind", "extra")]),
    st.booleans(),
)
@example([sent(wind=None)], STEPS[1], "", 2**20, ("wind", "extra"), False)
@example([sent(carrier="x" * 9_000)], (), "", 24_000, ("carrier",), True)
@example([sent()] * 2, STEPS[1], "", 2**20, (), False)
@example([sent()] * 2, STEPS[3], "", 2**20, (), True)
@example([sent(wind=None)], STEPS[1], "", 2**20, (), False)
@example([sent(carrier=None)], (), "carrier", 2**20, (), False)
@example([(orjson.dumps(SENT), "right", [(VALUE_SCHEMA_ID, b"?")])], (), "", 2**20, (), False)
@example([sent(id="")], (), "carrier", 2**20, (), False)
@example([sent(at=NOW + 25 * HOUR)], (), "", 2**20, (), False)
@example([sent(id="x" * 23_900)], (), "carrier", 24_000, (), False)
@example([sent(carrier="x" * 23_900)], (), "carrier", 24_000, (), True)
@example(
    [(orjson.dumps(SENT), "right", [("traceparent", b"x" * 90)] * 300)], (), "", 24_000, (), False
)
def test_the_fast_path_changes_no_outcome(
    drawn: list[tuple[bytes, str, Any]],
    steps: tuple[CleaningStep, ...],
    key: str,
    max_bytes: int,
    passed: tuple[str, ...],
    typed: bool,
) -> None:
    records = [raw(one, key or "id") for one in drawn]
    labels = [
        Record(
            "flights.labels",
            0,
            7,
            NOW,
            one.key,
            orjson.dumps({"id": "f1", "late": True, "known_at": NOW}),
        )
        for one in records
    ]
    # The wide union and the array have no place in the types of a Struct.
    kinds = {
        "id": ["null", "string"] if typed else ["null", "string", "long", "boolean"],
        "at": {"type": "long", "logicalType": "timestamp-millis"},
        "carrier": ["null", "string"],
    }
    sent_schema = schema(**kinds, wind=["null", "double"])
    extra = (
        {"name": "extra", "type": ["null", "long"], "default": None}
        if typed
        else {"name": "extra", "type": {"type": "array", "items": "long"}, "default": [7]}
    )
    changes = {
        "schema": {**sent_schema, "fields": [*sent_schema["fields"], extra]},
        "pass_through": passed,
        "key": key,
        "features": lambda fields: {"wind": fields["wind"]},
        "clean": steps,
    }
    fast = outcomes(scorer(changes, max_bytes), records, labels)
    assert all(output_size(output) <= max_bytes for output in fast[0] if output.topic == "scored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_reader, "compile_fast_decoder", no_fast_decoder)
        patch.setattr(record_reader, "compile_cleaning", step_by_step)
        slow = scorer(changes, max_bytes)
    slow._small = -1  # every output is measured
    assert repr(fast) == repr(outcomes(slow, records, labels))
