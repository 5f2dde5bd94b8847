"""Rules of sources: names and topics, origins of fields, envelopes, and the key of labels."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from itertools import chain
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones

from stream_app.core.reading.avro_timestamps import MILLISECONDS, TIMESTAMP_TYPES
from stream_app.core.reading.identity import id_fields, key_fields
from stream_app.core.reading.source_values import UNIT_NAMES
from stream_app.core.reading.validator import compile_validator
from stream_app.core.scoring.source_watermarks import MAX_SOURCES
from stream_app.declaration.requirements import field_types, require, require_type
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Failure
from stream_app.sources import (
    ORIGIN_CLASSES,
    Constant,
    Coordinates,
    EnvelopeField,
    Epoch,
    LocalTime,
    PartitionerName,
    RecordKey,
    RecordTimestamp,
    Source,
)
from stream_app.topic_kinds import KINDS, is_replay_topic, topic_name

_ORIGIN_FORM = (
    'a path such as "order.id", Constant(...), Epoch(...), LocalTime(...), RecordTimestamp(), '
    "RecordKey(), Coordinates() or EnvelopeField(...)"
)
_CHOICES = {
    "format": ("json", "avro"),
    "envelope": (None, "debezium", "connect"),
    "updates": ("dropped", "events"),
    "on_loss": ("wait", "continue"),
    "direct": (False, True),
    "partitioner": (None, *get_args(PartitionerName)),
}
_STARTS = ("earliest", "latest")
START_FORM = 'Set start to "earliest", "latest" or a datetime with a time zone'


def check_sources(pipeline: Pipeline) -> None:
    """Check the sources of events and labels of a pipeline whose schemas are valid.

    Raises:
        PipelineError: a rule is violated.
    """
    events = dict(_numbered("sources", pipeline.sources))
    labels = dict(_numbered("label.sources", pipeline.label.sources))
    for name, found in (("sources", events), ("label.sources", labels)):
        require(
            len(found) <= MAX_SOURCES,
            f"{name} has {len(found)} sources, and the clock of a pipeline knows {MAX_SOURCES}",
            "Declare fewer; let another program merge topics of one kind",
        )
    for where, source in chain(events.items(), labels.items()):
        _check_source_types(where, source)
        _check_source_name(where, source)
        _check_own_topic(where, source, pipeline.name)
        _check_start(where, source)
        _check_envelope(where, source)
    _check_unique(events | labels)
    for where, source in labels.items():
        require(
            not source.direct,
            f"{where}.direct is set, but only a topic of events can be read directly",
            "Leave direct out: ingest brings each label to the partition of its event",
        )
    for where, source in chain(events.items(), labels.items()):
        _check_direct(where, source, pipeline)
    for where, source in events.items():
        _check_origins(where, source, _known_fields(pipeline.schema))
        _check_updates(where, source, pipeline)
    for where, source in labels.items():
        _check_key_of_labels(where, source, pipeline)
        _check_origins(where, source, _label_fields(pipeline))


def _numbered(name: str, sources: object) -> Iterator[tuple[str, Source]]:
    require_type(tuple, {name: sources}, "a tuple, as in (Source(...),)")
    assert isinstance(sources, tuple)
    for number, source in enumerate(sources):
        where = f"{name}[{number}]"
        require_type(Source, {where: source}, "stream_app.Source(...)")
        yield where, source


def _check_source_types(where: str, source: Source) -> None:
    texts = {f"{where}.{name}": getattr(source, name) for name in ("topic", "name")}
    require_type(str, texts, "a string")
    require_type(Mapping, {f"{where}.fields": source.fields}, "a dict of origins by field")
    for name, choices in _CHOICES.items():
        value = getattr(source, name)
        require(
            value in choices,
            f"{where}.{name} is {value!r}",
            f"Choose from {', '.join(map(repr, choices))}",
        )
    require(
        source.where is None or callable(source.where),
        f"{where}.where is not callable",
        "Give a function of the record, as in where=lambda record: record['kind'] == 'order'",
    )


def _check_source_name(where: str, source: Source) -> None:
    require(
        re.fullmatch(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}", source.topic) is not None,
        f"{where}.topic {source.topic!r} cannot be the name of a topic",
        "Give the full name of the topic",
    )
    require(
        re.fullmatch(r"[a-z0-9._-]{1,100}", source.source_name) is not None,
        f"{where}.name {source.source_name!r} cannot be the name of a source",
        "Set name to up to 100 lower-case letters, digits, dots, hyphens and underscores",
    )


def _check_own_topic(where: str, source: Source, pipeline: str) -> None:
    own = {topic_name(pipeline, kind) for kind in KINDS}
    require(
        source.topic not in own,
        f"{where}.topic {source.topic} is a topic of the pipeline itself",
        "Leave the source out: what is sent there is read without one",
    )


def _check_start(where: str, source: Source) -> None:
    start: object = source.start
    if isinstance(start, datetime):
        require(start.tzinfo is not None, f"{where}.start has no time zone", START_FORM)
    else:
        require(start in _STARTS, f"{where}.start is {start!r}", START_FORM)


def _check_envelope(where: str, source: Source) -> None:
    require(
        source.envelope != "connect" or source.format == "json",
        f'{where}.envelope is "connect", but Avro has no such envelope',
        "Leave envelope out",
    )
    require(
        source.updates == "dropped" or source.envelope == "debezium",
        f"{where}.updates is declared without Debezium's envelope",
        'Declare envelope="debezium", or leave updates out',
    )


def _check_direct(where: str, source: Source, pipeline: Pipeline) -> None:
    """Check what reading a topic directly excludes."""
    if not source.direct:
        require(
            source.partitioner is None,
            f"{where}.partitioner is declared without direct",
            "Leave it out: ingest reads topics of any partitioner; or declare direct=True",
        )
        return
    require(
        len(pipeline.sources) == 1,
        f"{where}.direct is set, but the pipeline has {len(pipeline.sources)} sources of events",
        "Declare one source of events, or leave direct out: ingest merges several",
    )
    require(
        not is_replay_topic(source.topic),
        f"{where}.direct is set, but {source.topic} has the name of a topic of replays",
        "Leave direct out",
    )
    for name in key_fields(pipeline):
        require(
            not isinstance(source.fields.get(name), Coordinates | Constant),
            f"{where}.direct is set, but the field {name} of the key is not what producers send as "
            "the record's key",
            "Set key to a field whose text is the record's key, as in "
            f"fields={{{name!r}: RecordKey()}}, or leave direct out",
        )


def _check_unique(sources: Mapping[str, Source]) -> None:
    for role, values in (
        ("name", [source.source_name for source in sources.values()]),
        ("topic", [source.topic for source in sources.values()]),
    ):
        repeated = sorted({value for value in values if values.count(value) > 1})
        require(
            not repeated,
            f"two sources have the {role} {', '.join(repeated)}",
            "Give each source another name"
            if role == "name"
            else "Declare each topic once, for events or for labels",
        )


def _known_fields(schema: Any) -> dict[str, Mapping[str, Any]]:
    """Return the schema of each field."""
    return {field["name"]: parsed(schema) for field in parsed(schema)["fields"]}


def _label_fields(pipeline: Pipeline) -> dict[str, Mapping[str, Any]]:
    """Return the schema of each field of labels, and of the key's fields that these lack."""
    keys = dict.fromkeys(key_fields(pipeline), parsed(pipeline.schema))
    return keys | _known_fields(pipeline.label.schema)


def _check_origins(where: str, source: Source, known: Mapping[str, Mapping[str, Any]]) -> None:
    for name, origin in source.fields.items():
        place = f"{where}.fields[{name!r}]"
        nearest = get_close_matches(str(name), known, 1)
        hint = f"; the nearest is {nearest[0]}" if nearest else ""
        require(
            name in known,
            f"{place} is not a field of the schema{hint}",
            f"Choose from {', '.join(known)}",
        )
        require(
            isinstance(origin, (str, *ORIGIN_CLASSES)),
            f"{place} is of type {type(origin).__name__}",
            f"Give {_ORIGIN_FORM}",
        )
        _check_path(place, origin, source)
        _check_conversion(place, origin)
        _check_target(place, origin, name, known[name])


def _check_path(place: str, origin: object, source: Source) -> None:
    path = origin if isinstance(origin, str) else getattr(origin, "path", "x")
    require(
        isinstance(path, str) and all(path.split(".")),
        f"{place}: {path!r} is not a path",
        'Give the names of nested records and of the field, as in "order.id"',
    )
    require(
        not isinstance(origin, EnvelopeField) or source.envelope == "debezium",
        f"{place} is a field of Debezium's envelope, which the source does not have",
        'Declare envelope="debezium", or give the path alone',
    )


def _check_conversion(place: str, origin: object) -> None:
    if isinstance(origin, Epoch):
        require(
            origin.unit in UNIT_NAMES,
            f"{place}: the unit {origin.unit!r} is not known",
            f"Choose from {', '.join(UNIT_NAMES)}",
        )
    if isinstance(origin, LocalTime):
        try:
            ZoneInfo(origin.zone)
            known = True
        # The text may be anything, such as the name of a folder of the database.
        except (OSError, ValueError, TypeError, KeyError):
            known = False
        nearest = [] if known else get_close_matches(str(origin.zone), available_timezones(), 1)
        require(
            known,
            f"{place}: the time zone {origin.zone!r} is not known"
            + (f"; the nearest is {nearest[0]}" if nearest else ""),
            "Give a name of the time zone database, such as Europe/Berlin",
        )


def _check_target(place: str, origin: object, name: str, schema: Mapping[str, Any]) -> None:
    """Check that the field has a type for the values of its origin."""
    declared = next(field["type"] for field in schema["fields"] if field["name"] == name)
    if isinstance(origin, Epoch | LocalTime | RecordTimestamp):
        require(
            all(map(_is_milliseconds, _branches(declared))),
            f"{place} gives Unix milliseconds, but the field has another type",
            'Declare it as {"type": "long", "logicalType": "timestamp-millis"}',
        )
    if isinstance(origin, RecordKey | Coordinates):
        require(
            field_types("schema", schema)[name] - {"null"} == {"string"},
            f"{place} gives text, but the field has another type",
            "Declare it as string",
        )
    if isinstance(origin, Constant):
        found = compile_validator(schema, only=[name])({name: origin.value})
        problem = found.message if isinstance(found, Failure) else ""
        require(not problem, f"{place}: {problem}", "Give a constant of the field's type")


def _branches(declared: Any) -> list[Any]:
    branches = declared if isinstance(declared, list) else [declared]
    return [branch for branch in branches if branch != "null"]


def _is_milliseconds(declared: Any) -> bool:
    if not isinstance(declared, Mapping):
        return bool(declared == "long")
    logical_type = declared.get("logicalType")
    return declared["type"] == "long" and (
        logical_type not in TIMESTAMP_TYPES or TIMESTAMP_TYPES[logical_type].unit is MILLISECONDS
    )


def _check_updates(where: str, source: Source, pipeline: Pipeline) -> None:
    """Check that updates that are events have ids of their own."""
    origins = [source.fields.get(name) for name in id_fields(pipeline)]
    distinct = any(
        isinstance(origin, Coordinates)
        or (isinstance(origin, EnvelopeField) and origin.path.startswith("source."))
        for origin in origins
    )
    require(
        source.updates == "dropped" or distinct,
        f'{where}.updates is "events", but an update has the event id of the row that it changes',
        "Take a field of event_id from Coordinates(), or from the log position, as in "
        'EnvelopeField("source.lsn"); or set updates to "dropped"',
    )


def _check_key_of_labels(where: str, source: Source, pipeline: Pipeline) -> None:
    """Check that the labels of a source carry the key of their events."""
    own = _known_fields(pipeline.label.schema)
    for name in key_fields(pipeline):
        require(
            name in own or name in source.fields,
            f"{where} does not carry the key: {name!r} is neither in label.schema nor in fields",
            f"Name it in fields, as in {{{name!r}: RecordKey()}} or with a path; or key the "
            "pipeline by its event id: leave key out",
        )
    for name in {*id_fields(pipeline), *key_fields(pipeline)}:
        require(
            not isinstance(source.fields.get(name), Coordinates),
            f"{where}.fields[{name!r}] gives the coordinates of the label, not of its event",
            "Give the path of the event's coordinates in the label, which are its event_id in "
            "scored records",
        )
