"""The template of scored records gives the bytes of the whole record."""

from typing import Any, NamedTuple

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.core.reading.record_reader import Event
from stream_app.core.scoring.predictor import Degraded
from stream_app.core.scoring.scored_encoding import ScoredEncoder
from stream_app.headers import SourcePosition

NOW = 1_700_000_000_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.integers(-(2**60), 2**60)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


class NamedModel(NamedTuple):
    """Name and version of a model that is not called."""

    name: str
    version: int


EVENTS = st.builds(
    Event,
    TEXT,
    TIMES,
    st.just({}),
    st.dictionaries(TEXT, FLOATS),
    st.sampled_from([(), (), ("distance",)]),
    st.sampled_from([None, None, {"route": "A"}]),
    st.sampled_from([None, None, SourcePosition("orders", 3, 17, NOW)]),
    st.sampled_from([None, None, "7"]),
)
PREDICTED = st.one_of(
    st.tuples(st.booleans(), FLOATS, st.just(0.5), st.none()),
    st.tuples(FLOATS, FLOATS, st.none(), st.none()),
    st.tuples(TEXT, FLOATS, st.none(), st.dictionaries(TEXT, FLOATS)),
)
DEGRADED = st.sampled_from([None, None, None, Degraded(0.5, 3, "last-good", "model-failed")])
SCORED = st.tuples(EVENTS, st.integers(0, 2**62), PREDICTED, DEGRADED)


def encoder(encode: Any, publish_features: bool) -> ScoredEncoder:
    return ScoredEncoder(2, "0123456789abcdef", 3_600_000, publish_features, encode)


@given(TEXT, TEXT, st.booleans(), st.lists(SCORED, max_size=8))
@example(
    "100 %b",
    "raw%d",
    False,
    [(Event("%\0", 1, {}, {}, ()), 7, (True, 1e-7, 0.5, None), None)] * 2,
)
def test_the_template_gives_the_same_bytes(
    name: str, topic: str, publish_features: bool, scored: list[Any]
) -> None:
    model: Any = NamedModel(name, 12)
    by_template = encoder(orjson.dumps, publish_features)
    whole = encoder(lambda record: orjson.dumps(record), publish_features)
    for one in (by_template, whole):
        one.begin(model, NOW)
    for event, offset, predicted, degraded in scored:
        expected = whole.encode(event, topic, offset, predicted, degraded)
        assert by_template.encode(event, topic, offset, predicted, degraded) == expected


def test_another_topic_time_or_model_gets_its_own_template() -> None:
    event, predicted = Event("e1", NOW, {}, {"x": 1.0}, ()), (False, 0.25, 0.5, None)
    one = encoder(orjson.dumps, False)
    found = []
    for version, now, topic in ((1, NOW, "a.raw"), (1, NOW, "a.raw.replay"), (2, NOW + 5, "a.raw")):
        model: Any = NamedModel("a", version)
        one.begin(model, now)
        record = orjson.loads(one.encode(event, topic, 9, predicted, None))
        found.append((record["model"]["version"], record["scored_at"], record["source"]))
    assert found == [
        (1, NOW, {"topic": "a.raw", "partition": 2, "offset": 9}),
        (1, NOW, {"topic": "a.raw.replay", "partition": 2, "offset": 9}),
        (2, NOW + 5, {"topic": "a.raw", "partition": 2, "offset": 9}),
    ]
