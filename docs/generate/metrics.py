"""`metrics.md`: every Prometheus metric."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from docs.generate.markdown import code, codes, table
from stream_app.telemetry import metrics

_INTRODUCTION = """# Metrics

Every worker serves its metrics at `/metrics` in Prometheus's text format; see
[Operations](../operations.md#health) for the port. A histogram has the series `_bucket`, `_sum` and
`_count`. Each series also has the label `pipeline`, the name of the pipeline.
"""


def page() -> str:
    """Returns the page, with one table for each section of `stream_app/telemetry/metrics.py`."""
    parts = [_INTRODUCTION]
    for title, found in sections():
        rows = [
            [code(name), kind, codes(labels), text]
            for name, kind, labels, text in map(_described, found)
        ]
        parts += [f"## {title}\n", table(["metric", "type", "labels", "meaning"], rows)]
    return "\n".join(parts)


def sections() -> Iterator[tuple[str, list[Any]]]:
    """Yields each headline of the file, `# --- Title ---`, with the metrics below it."""
    _, *parts = re.split(r"^# --- (.+?) -+$", inspect.getsource(metrics), flags=re.MULTILINE)
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        names = re.findall(r"^([A-Z_]+): Final = ", text, flags=re.MULTILINE)
        yield title, [getattr(metrics, name) for name in names]


def _described(metric: Any) -> tuple[str, str, list[str], str]:
    """Returns the exported name, type, labels and help of a metric."""
    (family,) = metric.describe()
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return family.name + suffix, family.type, list(metric._labelnames), family.documentation
