"""Fast path of selection: decodes, selects and validates JSON of a source in one step.

As in `typed_decoding`, it gives the fields that the slow path would give, or None, so that the slow
path decides. A `msgspec.Struct` has the selected paths only; the decoder skips the rest, which it
checks for the syntax of JSON. Encoded text in the rest is checked here, because the decoder does
not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import MsgspecError, defstruct
from msgspec.json import Decoder

from stream_app.core.reading.event_time import LAST_MS, to_unix_ms
from stream_app.core.reading.source_values import (
    MISSING,
    Problem,
    SentRecord,
    compile_conversion,
    compile_origin,
)
from stream_app.core.reading.typed_decoding import is_timestamp, struct_default, struct_type
from stream_app.core.reading.validator import compile_validator
from stream_app.headers import SourcePosition
from stream_app.records import Fields
from stream_app.sources import (
    Constant,
    Coordinates,
    EnvelopeField,
    Epoch,
    FieldOrigin,
    LocalTime,
    RecordKey,
    RecordTimestamp,
)

SelectedDecoder = Callable[[bytes, SourcePosition, bytes | None], Fields | None]
"""Returns the validated fields of a value, given its position and key, or None if undecided."""

_NO_ROW: Fields = {}


class _InexpressibleError(Exception):
    """A field has no fast path."""


def compile_selected_decoder(
    fields: Sequence[Mapping[str, Any]], origins: Mapping[str, FieldOrigin]
) -> SelectedDecoder | None:
    """Compile fields of a schema into a decoder of JSON values, None if they have no fast path.

    Args:
        fields: declarations of the fields in the schema.
        origins: origins by field; a field without one comes from the same name.
    """
    code = _Code()
    try:
        for field in fields:
            code.add(field, origins.get(field["name"]))
        return code.compile()
    except _InexpressibleError:
        return None


class _Node:
    """Struct of a record in the value: fields by their names there."""

    def __init__(self) -> None:
        self.children: dict[str, _Node | _Leaf] = {}

    def struct(self) -> Any:
        names = {f"f{number}": name for number, name in enumerate(self.children)}
        try:
            return defstruct(
                "Selected",
                [
                    (attribute, *self.children[name].declaration())
                    for attribute, name in names.items()
                ],
                rename=names,
                kw_only=True,
                gc=False,
            )
        except ValueError:
            # Names with quotes, backslashes or control characters.
            raise _InexpressibleError from None

    def declaration(self) -> tuple[Any, ...]:
        return (self.struct(),)


class _Leaf:
    """Selected field: its type in the Struct, and its default if it has one."""

    def __init__(self, kind: Any, default: tuple[Any, ...]) -> None:
        self.kind = kind
        self.default = default

    def declaration(self) -> tuple[Any, ...]:
        return (self.kind, *self.default)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Leaf) and (
            (self.kind, repr(self.default)) == (other.kind, repr(other.default))
        )

    __hash__ = None  # type: ignore[assignment]


class _Code:
    """Source of the decoder: one variable for each field."""

    def __init__(self) -> None:
        self._root = _Node()
        self._lines: list[str] = []
        self._items: list[str] = []
        self._constants: dict[str, Any] = {}

    def add(self, field: Mapping[str, Any], origin: FieldOrigin | None) -> None:
        name, number = field["name"], len(self._items)
        if origin is None and field.get("aliases"):
            raise _InexpressibleError
        variable = f"v{number}"
        kind = struct_type({**field, "aliases": []})
        if kind is None:
            raise _InexpressibleError
        self._items.append(f"{name!r}: {variable}")
        match origin:
            case None | str():
                path = name if origin is None else origin
                # A name at the top may contain dots only if it is that of the field.
                parts = [name] if origin is None else path.split(".")
                self._take(variable, parts, _Leaf(kind, struct_default(field)))
                if is_timestamp(field["type"]):
                    self._convert_text(variable)
            case Epoch() | LocalTime():
                self._take_converted(variable, field, origin)
            case Constant(value=value):
                self._set_constant(variable, field, value)
            case RecordTimestamp():
                self._lines += [
                    f"{variable} = position[3]",
                    f"if not 0 <= {variable} <= {LAST_MS}: return None",
                ]
            case RecordKey() | Coordinates():
                self._call(
                    variable, compile_origin(origin), "SentRecord(empty, empty, position, key)"
                )
            case EnvelopeField():
                raise _InexpressibleError

    def compile(self) -> SelectedDecoder:
        source = [
            "def decode_selected(value, position, key):",
            "    if not value.isascii() and not is_utf8(value): return None",
            "    try:",
            "        sent = decode(value)",
            "    except errors:",
            "        return None",
            *(f"    {line}" for line in self._lines),
            f"    return {{{', '.join(self._items)}}}",
        ]
        names = self._constants | {
            "decode": Decoder(self._root.struct()).decode,
            "is_utf8": _is_utf8,
            "errors": (MsgspecError, RecursionError),
            "to_unix_ms": to_unix_ms,
            "Problem": Problem,
            "MISSING": MISSING,
            "SentRecord": SentRecord,
            "empty": _NO_ROW,
        }
        exec("\n".join(source), names)
        decoder: SelectedDecoder = names["decode_selected"]
        return decoder

    def _take(self, variable: str, parts: Sequence[str], leaf: _Leaf) -> None:
        node, expression = self._root, "sent"
        for part in parts[:-1]:
            child = node.children.setdefault(part, _Node())
            if not isinstance(child, _Node):
                raise _InexpressibleError
            expression += f".f{list(node.children).index(part)}"
            node = child
        if node.children.setdefault(parts[-1], leaf) != leaf:
            raise _InexpressibleError
        self._lines.append(f"{variable} = {expression}.f{list(node.children).index(parts[-1])}")

    def _convert_text(self, variable: str) -> None:
        self._lines += [
            f"if type({variable}) is str:",
            f"    {variable} = to_unix_ms({variable})",
            f"    if {variable} is None: return None",
        ]

    def _take_converted(
        self, variable: str, field: Mapping[str, Any], origin: Epoch | LocalTime
    ) -> None:
        kind: Any = str if isinstance(origin, LocalTime) else int | float
        if isinstance(field["type"], list):
            kind |= None
        default = struct_default(field)
        # Only null has the same meaning before and after conversion.
        self._take(variable, origin.path.split("."), _Leaf(kind, default * (default == (None,))))
        self._call(variable, compile_conversion(origin), variable)

    def _set_constant(self, variable: str, field: Mapping[str, Any], value: Any) -> None:
        schema = {"type": "record", "name": "Constant", "fields": [field]}
        validated = compile_validator(schema)({field["name"]: value})
        if not isinstance(validated, dict):
            raise _InexpressibleError
        self._constants[f"constant_{variable}"] = validated[field["name"]]
        self._lines.append(f"{variable} = constant_{variable}")

    def _call(self, variable: str, function: Callable[[Any], Any], argument: str) -> None:
        self._constants[f"call_{variable}"] = function
        self._lines += [
            f"{variable} = call_{variable}({argument})",
            f"if type({variable}) is Problem or {variable} is MISSING: return None",
        ]


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
