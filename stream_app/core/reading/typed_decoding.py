"""Fast path of reading JSON: decodes and validates a value in one step.

It accepts what nearly all producers send, and gives the same fields as `decode` followed by the
validator. It gives None for everything else, so that these two decide: a record with a defect, one
with unknown fields, and every record of a schema that a `msgspec.Struct` cannot express.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Meta, MsgspecError, defstruct
from msgspec.json import Decoder
from msgspec.structs import asdict
from orjson import JSONDecodeError, loads

from stream_app.core.reading.avro_timestamps import TIMESTAMP_TYPES
from stream_app.core.reading.event_time import FIRST_MS, LAST_MS, to_unix_ms
from stream_app.core.reading.validator import Validator, compile_validator
from stream_app.core.reading.validator_checks import FLOAT_MAX
from stream_app.records import Fields

FastDecoder = Callable[[bytes], Fields | None]
"""Returns the validated fields of a value, new for each call, or None if it does not decide."""

_TYPES: dict[str, Any] = {
    "boolean": bool,
    "string": str,
    "int": Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    "long": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    "float": Annotated[float, Meta(ge=-FLOAT_MAX, le=FLOAT_MAX)],
    "double": float,
}
# Text is converted to Unix milliseconds after decoding.
_TIMESTAMP = Annotated[int, Meta(ge=FIRST_MS, le=LAST_MS)] | str


def compile_fast_decoder(schema: Mapping[str, Any], validate: Validator) -> FastDecoder:
    """Compile a record schema, and its validator, into a decoder of JSON values.

    >>> fields = [{"name": "x", "type": "double"}, {"name": "y", "type": "string", "default": ""}]
    >>> schema = {"type": "record", "name": "R", "fields": fields}
    >>> decode = compile_fast_decoder(schema, compile_validator(schema))
    >>> decode(b'{"x": 1}')
    {'x': 1.0, 'y': ''}
    >>> decode(b'{"x": "one"}') is None
    True
    """
    fields = schema["fields"]
    types = [struct_type(field) for field in fields]
    if not fields or None in types:
        return _untyped(validate)
    struct = defstruct(
        "Sent",
        [
            (field["name"], kind, *struct_default(field))
            for field, kind in zip(fields, types, strict=True)
        ],
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
    times = [field["name"] for field in fields if is_timestamp(field["type"])]
    return _with_times(Decoder(struct).decode, times) if times else _typed(Decoder(struct).decode)


def _typed(decode_struct: Callable[[bytes], Any]) -> FastDecoder:
    def decode_typed(value: bytes) -> Fields | None:
        try:
            return asdict(decode_struct(value))
        except MsgspecError:
            return None

    return decode_typed


def _with_times(decode_struct: Callable[[bytes], Any], names: list[str]) -> FastDecoder:
    def decode_times(value: bytes) -> Fields | None:
        try:
            fields = asdict(decode_struct(value))
        except MsgspecError:
            return None
        for name in names:
            text = fields[name]
            if type(text) is str:
                time = fields[name] = to_unix_ms(text)
                if time is None:
                    return None
        return fields

    return decode_times


def _untyped(validate: Validator) -> FastDecoder:
    """Return the decoder of a schema that a Struct cannot express."""

    def decode_untyped(value: bytes) -> Fields | None:
        try:
            fields = validate(loads(value))
        except JSONDecodeError:
            return None
        return fields if type(fields) is dict else None

    return decode_untyped


def struct_default(field: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the default of a field with a `struct_type` in a tuple, which is empty without one.

    The default is stored as the validator gives it. All of these types are immutable.
    """
    if "default" not in field:
        return ()
    schema = {"type": "record", "name": "Default", "fields": [field]}
    default = compile_validator(schema)({})
    return (default[field["name"]],) if isinstance(default, dict) else ()


def struct_type(field: Mapping[str, Any]) -> Any:
    """Return the type of a field in a Struct, or None if it has none."""
    name: str = field["name"]
    # A Struct has attributes whose names begin with two underscores.
    if field.get("aliases") or not name.isidentifier() or name.startswith("__"):
        return None
    match field["type"]:
        case ["null", other] | [other, "null"]:
            kind = _scalar(other)
            return None if kind is None else kind | None
        case avro_type:
            return _scalar(avro_type)


def _scalar(schema: Any) -> Any:
    match schema:
        case str():
            return _TYPES.get(schema)
        case {"type": "long", "logicalType": str(logical_type)}:
            if is_timestamp(schema):
                return _TIMESTAMP
            return None if logical_type in TIMESTAMP_TYPES else _TYPES["long"]
        case {"type": str(primitive)}:
            return _TYPES.get(primitive)
    return None


def is_timestamp(schema: Any) -> bool:
    """Return True if values of a type, or of one of its branches, are Unix milliseconds."""
    if isinstance(schema, list):
        return any(map(is_timestamp, schema))
    return isinstance(schema, Mapping) and (
        schema["type"] == "long" and schema.get("logicalType") == "timestamp-millis"
    )
