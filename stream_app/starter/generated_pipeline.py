"""Text of the pipeline and the schemas of a guessed pipeline."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import PurePath
from statistics import median
from typing import Any

from stream_app.starter.column_profiles import Column
from stream_app.starter.pipeline_guess import PipelineGuess
from stream_app.starter.role_guesses import ColumnRole

_AVRO_TYPES = {"boolean": "boolean", "integer": "long", "number": "double", "text": "string"}
_WIDTH = 100
KNOWN_AT = "label_known_at"
"""Name of the label's time if the table has none."""

_MODELS = {
    "binary": ("linear_model.LogisticRegression(optim.AdaGrad(0.05))", ""),
    "classes": (
        "multiclass.OneVsRestClassifier(linear_model.LogisticRegression(optim.AdaGrad(0.05)))",
        "multiclass, ",
    ),
    "number": (
        "preprocessing.TargetStandardScaler(linear_model.LinearRegression(optim.AdaGrad(0.05)))",
        "",
    ),
}

_TEMPLATE = '''"""Scores the rows of {file} and learns from {label}; by `stream-app init`.

Each guess has its reason beside it, from {records}.
Correct what is wrong, and see the effect:

    stream-app try {name}.py {path}{sort}
"""

from datetime import timedelta

from river import linear_model, {multiclass}optim, preprocessing

from stream_app import Label, Pipeline
{imports}from stream_app.transformers import Pick

# 1. Fields that the model learns from. They must be known when the event happens.

NUMBERS = {numbers}
WORDS = {words}
{left_out}
# 2. Cleaning: a missing number is replaced by the median; scored records name it in `imputed`.

CLEAN = {clean}


# 3. Features: numbers, texts, and hour and weekday of the event in UTC.


def features(row):
    hours = row["{time}"] // 3_600_000
    return {{
        "hour": hours % 24,
        "weekday": str((hours // 24 + 3) % 7),
        **{{name: row[name] for name in NUMBERS}},
        **{{name: str(row[name]) for name in WORDS}},
    }}


# 4. Model: {task}; it learns from each label.


def model():
    numbers = Pick(("hour", *NUMBERS)) | preprocessing.StandardScaler()
    words = Pick(("weekday", *WORDS)) | preprocessing.OneHotEncoder()
    return (numbers + words) | {model}


# 5. Pipeline.

pipeline = Pipeline(
    name="{name}",
    schema="{name}.avsc",
    # {id_reason}.
    event_id="{id}",
    # {time_reason}.
    event_time="{time}",
    clean=CLEAN,
    features=features,
    model=model,
    label=Label(
        schema="{name}_label.avsc",
        # {label_reason}.
        field="{label}",{values}
        # {known_reason}.
        time="{known}",{delay}
        # {horizon_reason}.
        horizon={horizon},
        # {order}.
        allowed_lateness={lateness},
    ),
    # Score from the first event on, before anything was learned.
    untrained="allowed",
    publish_features=True,
)
'''

_TASKS = {
    "binary": "predicts the probability that the label is true",
    "classes": "predicts the probability of each class",
    "number": "predicts a number",
}


def generated_files(name: str, path: str, guess: PipelineGuess) -> dict[str, str]:
    """Return the texts of the files of a pipeline, by file name.

    Args:
        name: name of the pipeline.
        path: path of the table, relative to the folder of the pipeline.
        guess: guessed pipeline.
    """
    return {
        f"{name}.py": _pipeline_text(name, path, guess),
        f"{name}.avsc": _schema_text("Event", f"Row of {PurePath(path).name}.", _event(guess)),
        f"{name}_label.avsc": _schema_text("Outcome", "Label of an event.", _label(guess)),
    }


def _pipeline_text(name: str, path: str, guess: PipelineGuess) -> str:
    values, timing, sample = guess.values, guess.timing, guess.sample
    model, multiclass = _MODELS[values.kind]
    clean = list(_imputations(guess))
    how_many = (
        f"all {sample.total:,} rows"
        if sample.is_complete
        else f"{sample.records:,} of {sample.total:,} rows"
    )
    return _TEMPLATE.format(
        file=_plain(PurePath(path).name),
        path=_plain(path),
        name=name,
        sort=" --sort" if guess.must_be_sorted else "",
        records=how_many,
        multiclass=multiclass,
        imports="from stream_app.cleaning import Impute\n" if clean else "",
        numbers=_named(guess.numbers),
        words=_named(guess.words),
        left_out=_left_out(guess.left_out),
        clean=_tuple(clean),
        time=guess.event_time.column.name,
        time_reason=_reason(guess.event_time.reason),
        id=guess.event_id.column.name,
        id_reason=_reason(guess.event_id.reason),
        label=guess.label.column.name,
        label_reason=_reason(f"{guess.label.reason}; {values.reason}"),
        values=_values(guess),
        known=KNOWN_AT if timing.time is None else timing.time.name,
        known_reason=_reason(timing.reason),
        delay="" if timing.delay is None else f"\n        delay={_days(timing.delay)},",
        horizon=_days(timing.horizon),
        horizon_reason=_reason(timing.horizon_reason),
        lateness=_days(timing.allowed_lateness),
        order=_reason(str(guess.order)),
        task=_TASKS[values.kind],
        model=model,
    )


def _values(guess: PipelineGuess) -> str:
    """Return the lines that declare positive and negative values."""
    found = {"positive": guess.values.positive, "negative": guess.values.negative}
    return "".join(
        f"\n        {name}={_literal(value)}," for name, value in found.items() if value is not None
    )


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _days(time: timedelta) -> str:
    hours = time // timedelta(hours=1)
    return f"timedelta(days={hours // 24})" if hours % 24 == 0 else f"timedelta(hours={hours})"


def _tuple(lines: Sequence[str]) -> str:
    """Return a tuple of lines that begin with a line break."""
    return f"({''.join(lines)}\n)" if lines else "()"


def _named(roles: Iterable[ColumnRole]) -> str:
    return _tuple([_commented(f'    "{role.column.name}",', role.reason) for role in roles])


def _commented(line: str, reason: str) -> str:
    return f"\n{line}  # {_reason(reason, len(line) + 4)}"


def _reason(text: str, used: int = 12) -> str:
    """Return a reason on one line, shortened to the width of a line, without control characters."""
    text = "".join(one if one.isprintable() else " " for one in text)
    return text if len(text) + used <= _WIDTH else f"{text[: _WIDTH - used - 1]}…"


def _plain(path: str) -> str:
    """Return a path as it may stand in a text of Python."""
    return "".join(one if one.isprintable() and one not in '"\\' else "?" for one in path)


def _left_out(roles: list[ColumnRole]) -> str:
    if not roles:
        return ""
    lines = [
        f"#   {role.column.name}: {_reason(role.reason, len(role.column.name) + 8)}"
        for role in roles
    ]
    return "\n".join(
        ["# Left out; add a name above, and its field to the schema, to use it:", *lines, ""]
    )


def _imputations(guess: PipelineGuess) -> Iterator[str]:
    """Yield the lines of cleaning steps for numbers that may be missing."""
    for role in guess.numbers:
        column = role.column
        if guess.is_nullable(column):
            middle = median(column.filled)
            value = round(float(middle), 6)
            yield f'\n    Impute("{column.name}", {value!r}),'


def _event(guess: PipelineGuess) -> Iterator[dict[str, Any]]:
    yield _field(guess.event_id, _AVRO_TYPES[guess.event_id.column.type])
    yield _time_field(guess.event_time.column, guess.event_time.reason)
    for role in (*guess.numbers, *guess.words):
        # Numbers with a fraction may come, even if there are none in the sample.
        kind = "double" if role in guess.numbers else _AVRO_TYPES[role.column.type]
        nullable = guess.is_nullable(role.column)
        yield _field(role, kind, nullable=nullable)


def _label(guess: PipelineGuess) -> Iterator[dict[str, Any]]:
    timing = guess.timing
    yield _field(guess.event_id, _AVRO_TYPES[guess.event_id.column.type])
    if timing.time is None:
        kind = {"type": "long", "logicalType": "timestamp-millis"}
        yield {"name": KNOWN_AT, "type": kind, "doc": "Time of the event + Label.delay."}
    else:
        yield _time_field(timing.time, timing.reason)
    yield {
        "name": guess.label.column.name,
        "type": _AVRO_TYPES[guess.label.column.type],
        "doc": guess.values.reason,
    }


def _field(role: ColumnRole, kind: str, *, nullable: bool = False) -> dict[str, Any]:
    field: dict[str, Any] = {"name": role.column.name, "type": kind}
    if nullable:
        field |= {"type": ["null", kind], "default": None}
    return {**field, "doc": role.reason}


def _time_field(column: Column, reason: str) -> dict[str, Any]:
    kind = {"type": "long", "logicalType": column.time_type}
    return {"name": column.name, "type": kind, "doc": reason}


def _schema_text(name: str, doc: str, fields: Iterable[dict[str, Any]]) -> str:
    """Return a schema with one line for each field."""
    lines = ",\n".join(f"    {json.dumps(field, ensure_ascii=False)}" for field in fields)
    head = f'  "type": "record",\n  "name": "{name}",\n  "doc": {json.dumps(doc)},\n'
    return f'{{\n{head}  "fields": [\n{lines}\n  ]\n}}\n'
