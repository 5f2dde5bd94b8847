"""`pipeline.md`: what a pipeline declares, and the cleaning steps there are."""

import doctest
import inspect
from dataclasses import is_dataclass
from typing import Any

from docs.generate.declarations import declared
from docs.generate.markdown import code, codes, fence, paragraphs, table
from stream_app import cleaning
from stream_app.core.evaluation.prediction_tasks import TASKS
from stream_app.pipeline import Label, Pipeline, Threshold, Thresholds
from stream_app.resilience import Breaker, Fallback, Limits, Retry

_INTRODUCTION = """# Pipelines

A pipeline is one Python file with one `Pipeline`. A schema is a path beside that file, or a dict. Fields without a
default have to be given. What is wrong with a declaration is said when it is loaded, with exit code 4.
"""

_METRICS = "For `metrics` and `Threshold.metric`, by the type of the label's field.\n"

_CLEANING = """## Cleaning steps

A step takes the record and returns the fields it changes, so any function will do. Steps run in order, after the record
has been validated. `stream_app.cleaning` has the usual ones; those marked *imputes* invent values, and the names of the
fields that they change are published with the prediction. A step that cannot mend a record raises
`stream_app.cleaning.Rejected("why, with field names but never their values")`.
"""


def page() -> str:
    """The declarations, then the steps."""
    parts = [_INTRODUCTION]
    for kind in (Pipeline, Label, Thresholds, Threshold, Retry, Breaker, Fallback, Limits):
        parts += [f"## {kind.__name__}\n", paragraphs(kind.__doc__) + "\n", _fields(kind)]
    parts += ["## Metrics\n", _METRICS, _metrics(), _CLEANING]
    return "\n".join(parts + [_step(step) for step in _steps()])


def _fields(kind: type) -> str:
    rows = [
        [code(f.name), code(f.type), code(f.default) or "*required*", f.description]
        for f in declared(kind)
    ]
    return table(["field", "type", "default", "meaning"], rows)


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
        ["label", "predicted", "metrics", "if none are named", "what no model achieves"], rows
    )


def _steps() -> list[Any]:
    """In the order of the file."""
    return [
        kind
        for kind in vars(cleaning).values()
        if is_dataclass(kind) and kind.__module__ == cleaning.__name__
    ]


def _step(kind: Any) -> str:
    """The step's signature, what it does, and its examples."""
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
