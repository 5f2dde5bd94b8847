"""Text of a guessed pipeline."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import PurePath
from statistics import median
from textwrap import wrap
from types import MappingProxyType
from typing import Any, NamedTuple

from stream_app.starter.generated_schemas import KNOWN_AT, event_schema, label_schema
from stream_app.starter.pipeline_guess import PipelineGuess
from stream_app.starter.role_guesses import ColumnRole

_WIDTH = 100
_MAX_REASON = 400
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

_TEMPLATE = '''"""Scores {file} and learns from {label}; by `stream-app init`.

{intro}
Correct what is wrong, and see the effect:

    {command}
"""

from datetime import timedelta

from river import linear_model, {multiclass}optim, preprocessing

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
    event_id="{id}",{key}
    # {time_reason}.
    event_time="{time}",{sources}
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
        allowed_lateness={lateness},{label_sources}
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


class PipelineParts(NamedTuple):
    """Parts of a generated pipeline in which tables and topics differ.

    Attributes:
        scored: what is scored, after "Scores".
        read: kind and name of what is read, for the schema.
        command: command that shows the effect of a change.
        records: number of records that were looked at.
        paths: path of each field in the records of a topic.
        names: names to import from `stream_app`.
        key: K if it is not the event id.
        key_text, source_text, label_text: lines of the declaration, each beginning with a line
            break.
    """

    scored: str
    read: str
    command: str
    records: str
    paths: Mapping[str, str] = MappingProxyType({})
    names: Sequence[str] = ("Label", "Pipeline")
    key: ColumnRole | None = None
    key_text: str = ""
    source_text: str = ""
    label_text: str = ""


def table_files(name: str, path: str, guess: PipelineGuess) -> dict[str, str]:
    """Return the texts of the files of a pipeline for a table, by file name.

    Args:
        name: name of the pipeline.
        path: path of the table, relative to the folder of the pipeline.
        guess: guessed pipeline.
    """
    sample, file = guess.sample, plain(PurePath(path).name)
    how_many = (
        f"all {sample.total:,} rows"
        if sample.is_complete
        else f"{sample.records:,} of {sample.total:,} rows"
    )
    sort = " --sort" if guess.must_be_sorted else ""
    command = f"stream-app try {name}.py {plain(path)}{sort}"
    return pipeline_files(
        name, guess, PipelineParts(f"the rows of {file}", f"Row of {file}.", command, how_many)
    )


def pipeline_files(name: str, guess: PipelineGuess, parts: PipelineParts) -> dict[str, str]:
    """Return the texts of the files of a pipeline, by file name."""
    return {
        f"{name}.py": _pipeline_text(name, guess, parts),
        f"{name}.avsc": event_schema(guess, parts.key, parts.read),
        f"{name}_label.avsc": label_schema(guess, parts.key),
    }


def _pipeline_text(name: str, guess: PipelineGuess, parts: PipelineParts) -> str:
    values, timing = guess.values, guess.timing
    model, multiclass = _MODELS[values.kind]
    clean = list(_imputations(guess))
    cleaning = "from stream_app.cleaning import Impute\n" if clean else ""
    return _TEMPLATE.format(
        file=parts.scored,
        name=name,
        command=parts.command,
        intro="\n".join(
            wrap(f"Each guess has its reason beside it, from {parts.records}.", _WIDTH)
        ),
        multiclass=multiclass,
        imports=_import(parts.names) + cleaning,
        numbers=_named(guess.numbers),
        words=_named(guess.words),
        left_out=_left_out(guess.left_out, parts.paths),
        clean=_one_line(clean) or _tuple(clean),
        key=parts.key_text,
        sources=parts.source_text,
        label_sources=parts.label_text,
        time=guess.event_time.column.name,
        time_reason=reason_lines(guess.event_time.reason),
        id=guess.event_id.column.name,
        id_reason=reason_lines(guess.event_id.reason),
        label=guess.label.column.name,
        label_reason=reason_lines(f"{guess.label.reason}; {values.reason}", 8),
        values=_values(guess),
        known=KNOWN_AT if timing.time is None else timing.time.name,
        known_reason=reason_lines(timing.reason, 8),
        delay="" if timing.delay is None else f"\n        delay={_days(timing.delay)},",
        horizon=_days(timing.horizon),
        horizon_reason=reason_lines(timing.horizon_reason, 8),
        lateness=_days(timing.allowed_lateness),
        order=reason_lines(str(guess.order), 8),
        task=_TASKS[values.kind],
        model=model,
    )


def _import(names: Sequence[str]) -> str:
    line = f"from stream_app import {', '.join(names)}"
    if len(line) > _WIDTH:
        line = "".join(["from stream_app import (\n", *(f"    {name},\n" for name in names), ")"])
    return f"{line}\n"


def _values(guess: PipelineGuess) -> str:
    """Return the lines that declare positive and negative values."""
    found = {"positive": guess.values.positive, "negative": guess.values.negative}
    return "".join(
        f"\n        {name}={literal(value)}," for name, value in found.items() if value is not None
    )


def literal(value: Any) -> str:
    """Return a text or a number as it is written in Python."""
    return json.dumps(value, ensure_ascii=False)


def _days(time: timedelta) -> str:
    hours = time // timedelta(hours=1)
    return f"timedelta(days={hours // 24})" if hours % 24 == 0 else f"timedelta(hours={hours})"


def _one_line(lines: Sequence[str]) -> str:
    """Return a tuple of one short line, empty for others; so does ruff."""
    text = f"({lines[0].strip()})" if len(lines) == 1 else ""
    return text if len(text) + len("CLEAN = ") <= _WIDTH else ""


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


def reason_lines(text: str, indent: int = 4) -> str:
    """Return a reason as a comment without its beginning, on as many lines as it needs."""
    text = "".join(one if one.isprintable() else " " for one in text)
    text = text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 1]}…"
    lines = wrap(text, _WIDTH - indent - 3, break_on_hyphens=False)
    return f"\n{' ' * indent}# ".join(lines)


def plain(path: str) -> str:
    """Return a path as it may stand in a text of Python."""
    return "".join(one if one.isprintable() and one not in '"\\' else "?" for one in path)


def _left_out(roles: list[ColumnRole], paths: Mapping[str, str]) -> str:
    if not roles:
        return ""
    lines = []
    for role in roles:
        name = role.column.name
        path = paths.get(name, name)
        shown = name if path == name else f"{name} (from {plain(path)})"
        lines.append(f"#   {shown}: {_reason(role.reason, len(shown) + 8)}")
    schema = (
        ", its field to the schema, and its path to the source"
        if paths
        else ", and its field to the schema"
    )
    return "\n".join([f"# Left out; add a name above{schema}, to use it:", *lines, ""])


def _imputations(guess: PipelineGuess) -> Iterator[str]:
    """Yield the lines of cleaning steps for numbers that may be missing."""
    for role in guess.numbers:
        column = role.column
        if guess.is_nullable(column):
            middle = median(column.filled)
            value = round(float(middle), 6)
            yield f'\n    Impute("{column.name}", {value!r}),'
