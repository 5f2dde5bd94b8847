"""Typed decoding: the same fields as decoding and validation, or the decision is left to them."""

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.decoding import decode
from stream_app.core.reading.typed_decoding import compile_fast_decoder
from stream_app.core.reading.validator import Validator, compile_validator
from stream_app.records import Failure, Fields
from tests.core.reading.test_decoding import JSON
from tests.core.reading.test_validator import COLOUR, MICROS, MILLIS, POINT

TYPES = ["boolean", "int", "long", "float", "double", "string", MILLIS, {"type": "double"}]


def schema_of(**types: Any) -> dict[str, Any]:
    """Return a record schema with these fields; `(type, default)` gives a default."""
    fields = [
        {"name": name, "type": kind[0], "default": kind[1]}
        if isinstance(kind, tuple)
        else {"name": name, "type": kind}
        for name, kind in types.items()
    ]
    return {"type": "record", "name": "R", "fields": fields}


EVERY_TYPE = schema_of(
    **{f"field{number}": kind for number, kind in enumerate(TYPES)},
    optional=(["null", "double"], None),
    time=([MILLIS, "null"], 0),
    text=("string", "é"),
    ratio=("double", 1),
    required=["null", "int"],
)


def assert_same(schema: dict[str, Any], value: bytes, decided: bool | None = None) -> None:
    """Assert that a value has the same fields on both paths, or none on the fast one.

    Values are compared by type, too, and fields by their order.
    """
    validate = compile_validator(schema)
    fast = compile_fast_decoder(schema, validate)(value)
    if fast is not None:
        assert repr(fast) == repr(full(value, validate))
    if decided is not None:
        assert (fast is not None) is decided


def full(value: bytes, validate: Validator) -> Fields | Failure:
    fields = decode(value)
    return fields if isinstance(fields, Failure) else validate(fields)


NUMBERS = [
    b"0", b"-0", b"-0.0", b"1.0", b"1e5", b"1E+5", b"1e-5000", b"1e308", b"1e309", b"1e999",
    b"9007199254740993", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809",
    b"18446744073709551615", b"18446744073709551616", b"9" * 400, b"9" * 400 + b"e-395",
    b"3.4028234663852886e38", b"3.4028234663852887e38", b"340282346638528859811704183484516925441",
    b"2147483647", b"2147483648", b"0.1e1", b"123456789.123456789123456789", b"4.9e-324",
    b"2.4703282292062327e-324", b"1.", b".5", b"01", b"+1", b"NaN", b"-Infinity", b"1e", b"0x1",
]  # fmt: skip
TEXTS = [
    b'""', b'"\\u0000"', b'"\x00"', b'"\n"', b'"\x7f"', b'"\\ud800"', b'"\\ud83d\\ude00"',
    b'"\\ude00"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', b'"\\x41"',
    b'"\\/\\b"', b'"2013-01-01T05:15:00-05:00"', b'"2013-01-01"', b'"0001-01-01T00:00:00+01:00"',
]  # fmt: skip
OTHERS = [b"null", b"true", b"false", b"[]", b"[1]", b"{}", b'{"x":1}', b"", b"tru", b"[" * 9_000]


@pytest.mark.parametrize("value", NUMBERS + TEXTS + OTHERS, ids=repr)
def test_a_value_of_any_type_is_the_same_on_both_paths(value: bytes) -> None:
    for kind in [*TYPES, ["null", "double"], ["int", "null"], ["null", MILLIS], COLOUR]:
        assert_same(schema_of(f=kind), b'{"f": %b}' % value)


@pytest.mark.parametrize(
    ("value", "decided"),
    [
        (b'{"f": 1, "g": "x"}', True),
        (b' {"g": "x",\t"f" :1.5}\r\n', True),
        (b'{"\\u0066": 1, "g": "x"}', True),
        (b'{"f": 1, "f": 2, "g": "x"}', True),
        (b'{"f": 1}', True),
        (b'{"f": null, "f": 2}', False),
        (b'{"f": 1, "h": 2}', False),
        (b'{"f": 1, "h": 1e999}', False),
        (b'{"g": "x"}', False),
        (b'{"f": 1,}', False),
        (b'{"f": 1} {}', False),
        (b'{"f": 1}\0', False),
        (b'\xef\xbb\xbf{"f": 1}', False),
        (b'[{"f": 1}]', False),
        (b"null", False),
        (b" ", False),
    ],
)
def test_only_an_object_with_exactly_the_fields_of_the_schema_is_decided(
    value: bytes, decided: bool
) -> None:
    assert_same(schema_of(f="double", g=("string", "")), value, decided)


@pytest.mark.parametrize(
    "schema",
    [
        schema_of(f="double", g=(["null", "string", "long"], None)),
        schema_of(f="double", g=("bytes", "")),
        schema_of(f="double", g=(COLOUR, "RED")),
        schema_of(f="double", g=(POINT, {"x": 1})),
        schema_of(f="double", g=({"type": "array", "items": "int"}, [])),
        schema_of(f="double", g=({"type": "map", "values": "int"}, {})),
        schema_of(f="double", g=(MICROS, 0)),
        schema_of(f="double", __g=("int", 0)),
        schema_of(f="double", **{"g h": ("int", 0)}),
    ],
)
def test_a_schema_without_a_struct_is_decoded_and_validated(schema: dict[str, Any]) -> None:
    assert_same(schema, b'{"f": 1, "unknown": 2}', decided=True)
    assert_same(schema, b'{"f": "x"}', decided=False)


def test_an_alias_is_looked_up() -> None:
    schema = schema_of(f="double")
    schema["fields"][0]["aliases"] = ["old"]
    assert_same(schema, b'{"old": 1}', decided=True)


def test_each_record_has_its_own_fields() -> None:
    schema = schema_of(f="double", time=(MILLIS, 0), **{"class": ("string", "x")})
    decoder = compile_fast_decoder(schema, compile_validator(schema))
    first, second = decoder(b'{"f": 1}'), decoder(b'{"f": 1}')
    assert first == second == {"f": 1.0, "time": 0, "class": "x"}
    assert first is not second


validate = compile_validator(EVERY_TYPE)
decode_fast = compile_fast_decoder(EVERY_TYPE, validate)


@given(
    st.dictionaries(st.sampled_from([f["name"] for f in EVERY_TYPE["fields"]]), JSON).map(
        orjson.dumps
    )
    | st.binary()
)
def test_any_value_is_the_same_on_both_paths(value: bytes) -> None:
    fast = decode_fast(value)
    assert fast is None or repr(fast) == repr(full(value, validate))


def test_40000_damaged_records_are_the_same_on_both_paths() -> None:
    rng = random.Random(7)
    parts = [part for part in NUMBERS + TEXTS + OTHERS if len(part) < 500]
    decided = 0
    for _ in range(40_000):
        value = _sent(rng, parts)
        fast = decode_fast(value)
        if fast is not None:
            decided += 1
            assert repr(fast) == repr(full(value, validate)), value
    assert 5_000 < decided < 35_000


def _sent(rng: random.Random, parts: list[bytes]) -> bytes:
    """Return a record of `EVERY_TYPE` that is mostly valid: with odd values, order and bytes."""
    digits = rng.getrandbits
    right: dict[str, list[bytes]] = {
        "field0": [b"true", b"false"],
        "field1": [b"1", b"-2147483648"],
        "field2": [b"9223372036854775807", b"0"],
        "field3": [b"1.5", b"2", b"-0", b"1e38"],
        "field4": [str(rng.uniform(-1e9, 1e9)).encode(), b"7", repr(rng.gauss(0, 1e-300)).encode()],
        "field5": [b'"x"', b'"\\u00e9"', b'"\xc3\xa9"', b'"a\\"b"'],
        "field6": [b"1357035300000", b'"2013-01-01T05:15:00-05:00"', b'"2013-01-01 05:15:00.5Z"'],
        "field7": [b"%d.%d" % (digits(60), digits(60)), b"%d" % digits(70)],
        "required": [b"5", b"null"],
    }  # fmt: skip
    sent = {name: rng.choice(values) for name, values in right.items()}
    if rng.random() < 0.3:
        name = rng.choice([field["name"] for field in EVERY_TYPE["fields"]])
        sent[name] = rng.choice(parts)
    names = list(sent)
    rng.shuffle(names)
    value = b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), sent[name]) for name in names)
    if rng.random() < 0.2:
        at = rng.randrange(len(value))
        damage = bytes(
            rng.choice(b' \n\t\0"\\{}[],:0159eE.-+xun\xff\xc3') for _ in range(rng.randrange(3))
        )
        value = value[:at] + damage + value[at + rng.randrange(2) :]
    return value
