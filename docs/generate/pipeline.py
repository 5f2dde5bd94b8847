"""`pipeline.md`: the declarations of a pipeline, and the cleaning steps."""

import doctest
import inspect
from dataclasses import is_dataclass
from typing import Any

from docs.generate.declarations import declared
from docs.generate.markdown import code, codes, fence, paragraphs, table
from stream_app import cleaning
from stream_app.core.evaluation.prediction_tasks import TASKS
from stream_app.pipeline import Alarms, Label, Pipeline, Threshold, Thresholds
from stream_app.resilience import Breaker, Fallback, Limits, Retry
from stream_app.sources import ORIGIN_CLASSES, Source

_INTRODUCTION = """# Pipelines

A pipeline is one Python file with one `Pipeline`. A schema is a path relative to that file, or a
dict. An invalid declaration is an error when the file is loaded, with exit code 4.
"""

_ORIGINS = """## Origins of fields

A value of `Source.fields` is one of these. [Declare a source](../sources.md)
has examples.
"""

_METRICS = "For `metrics` and `Threshold.metric`, by the type of the label's field.\n"

_CLEANING = """## Cleaning steps

A step is a function that takes the record and returns the fields that it changes. Steps run in
order, after validation. `stream_app.cleaning` has common steps. Those marked *imputes* make up
values; the names of the fields that they change are published with the prediction. A step that
cannot fix a record raises
`stream_app.cleaning.Rejected("reason, with field names but without values")`.
"""


def page() -> str:
    """Returns the page: the declarations, then the steps."""
    parts = [_INTRODUCTION]
    policies = (Thresholds, Threshold, Alarms, Retry, Breaker, Fallback, Limits)
    for kind in (Pipeline, Label, Source, *policies):
        parts += [f"## {kind.__name__}\n", paragraphs(kind.__doc__) + "\n", _fields(kind)]
        if kind is Source:
            parts += [_ORIGINS, _origins()]
    parts += ["## Metrics\n", _METRICS, _metrics(), _CLEANING]
    return "\n".join(parts + [_step(step) for step in _steps()])


def _fields(kind: type) -> str:
    rows = [
        [code(f.name), code(f.type), code(f.default) or "*required*", f.description]
        for f in declared(kind)
    ]
    return table(["field", "type", "default", "meaning"], rows)


def _origins() -> str:
    """Returns the table of origins, each with its arguments."""
    path = "Value at a path of the record: names of nested records and of the field, with dots."
    rows = [[code('"order.id"'), path, ""]]
    for kind in ORIGIN_CLASSES:
        arguments = declared(kind)
        call = f"{kind.__name__}({', '.join(one.name for one in arguments)})"
        text = inspect.getdoc(kind) or ""
        meaning = " ".join(text.partition(">>>")[0].split())
        described = " ".join(f"{code(one.name)}: {one.description}" for one in arguments)
        rows.append([code(call), meaning, described])
    return table(["origin", "value", "arguments"], rows)


def _metrics() -> str:
    rows = [
        [
            codes(sorted(task.label_types)),
            task.name,
            codes(task.metrics),
            codes(task.default_metrics),
            codes(task.baselines),
        ]
        for task in TASKS
    ]
    return table(
        ["label", "predicted", "metrics", "if none are named", "baselines without a model"], rows
    )


def _steps() -> list[Any]:
    """Returns the cleaning steps in the order of their file."""
    return [
        kind
        for kind in vars(cleaning).values()
        if is_dataclass(kind) and kind.__module__ == cleaning.__name__
    ]


def _step(kind: Any) -> str:
    """Returns a step's section: signature, description and examples."""
    text = inspect.getdoc(kind) or ""
    examples = "".join(
        f">>> {example.source}{example.want}"
        for example in doctest.DocTestParser().get_examples(text)
    )
    marked = " *imputes*" if getattr(kind, "imputes", False) else ""
    parameters = str(inspect.signature(kind)).removesuffix(" -> None").replace("'", '"')
    return "\n".join(
        [
            f"### {kind.__name__}\n",
            f"`{kind.__name__}{parameters}`{marked}\n",
            paragraphs(text.split(">>>")[0]) + "\n",
            fence(examples, "pycon"),
        ]
    )
