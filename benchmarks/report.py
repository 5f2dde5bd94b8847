"""Results of the benchmarks as Markdown or JSON."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from benchmarks.figures import RATIOS, TARGETS, Figures, spread
from benchmarks.history import History
from stream_app.compiled_core import COMPILED, core_state

Row = tuple[str, ...]

BEGIN_MARK, END_MARK = "<!-- figures -->\n", "<!-- end of figures -->\n"


class Table(NamedTuple):
    """A titled table; cells are Markdown."""

    title: str
    columns: Row
    rows: Sequence[Row]
    remarks: tuple[str, ...] = ()

    def markdown(self) -> str:
        rule = "|".join("---" if number == 0 else "--:" for number in range(len(self.columns)))
        lines = [f"| {' | '.join(cells)} |" for cells in (self.columns, *self.rows)]
        lines.insert(1, f"|{rule}|")
        return "\n".join(
            [f"### {self.title}", "", *lines, *(f"\n{remark}" for remark in self.remarks), ""]
        )


class Report(NamedTuple):
    """Results of a benchmark.

    Attributes:
        tables: tables for readers.
        figures: values for programs and targets.
        invalid: reasons why the results are not valid.
    """

    tables: list[Table]
    figures: Figures
    invalid: tuple[str, ...] = ()


def markdown(parts: list[Report], history: History | None = None) -> str:
    """Returns all results as Markdown: ratios beside recorded ones, targets, tables."""
    figures = all_figures(parts)
    warnings = [f"**INVALID**: {reason}.\n" for part in parts for reason in part.invalid]
    tables = [
        _ratios(figures, history),
        _targets(figures),
        *(table for part in parts for table in part.tables),
    ]
    return "\n".join(
        [machine(), "", *warnings, *(table.markdown() for table in tables if table.rows)]
    )


def replace_figures(page: str, figures: str) -> str:
    """Returns a page with these figures between its two marks.

    >>> replace_figures("a\\n<!-- figures -->\\nold\\n<!-- end of figures -->\\nb", "new\\n")
    'a\\n<!-- figures -->\\nnew\\n<!-- end of figures -->\\nb'
    """
    before, _, rest = page.partition(BEGIN_MARK)
    _, end, after = rest.partition(END_MARK)
    if not end:
        raise ValueError(f"the page has no {BEGIN_MARK} and {END_MARK}")
    return f"{before}{BEGIN_MARK}{figures}{END_MARK}{after}"


def as_json(parts: list[Report]) -> dict[str, Any]:
    """Returns all results with the values of every round."""
    figures = all_figures(parts)
    targets = [
        {
            "name": target.name,
            "limit": target.limit,
            "unit": target.unit,
            "measured": median(figures[target.name]),
            "met": target.met_by(median(figures[target.name])),
        }
        for target in TARGETS
        if figures.get(target.name)
    ]
    invalid = [reason for part in parts for reason in part.invalid]
    return {"machine": machine(), "invalid": invalid, "targets": targets, "figures": figures}


def machine() -> str:
    """Returns a description of the machine and its software."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}; "
        f"{core()} core; broker, contenders and producer on the same machine."
    )


def core() -> str:
    """Returns "compiled" or "interpreted", the build of the core that the benchmarks measure."""
    return "compiled" if core_state() == COMPILED else "interpreted"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def all_figures(parts: list[Report]) -> Figures:
    """Returns the figures of all results."""
    return {name: values for part in parts for name, values in part.figures.items()}


def _ratios(figures: Figures, history: History | None) -> Table:
    """Returns the ratios of this run beside the last recorded ones, and the change."""
    rows = []
    for name in RATIOS:
        values = figures.get(name)
        if values:
            found = spread(values)
            last = history.get(name) if history else None
            change = f"{found.median / last.median - 1:+.0%}" if last and last.median else ""
            recorded = f"{last.median:.2f} ({last.commit})" if last else ""
            rows.append((name, found.text(2), recorded, change))
    return Table("Ratios", ("medians of the rounds", "now", "last recorded", "change"), rows)


def _targets(figures: Figures) -> Table:
    rows = []
    for target in TARGETS:
        values = figures.get(target.name)
        if values:
            found = spread(values)
            digits = 0 if target.unit in ("ms", "MB") else 2
            limit = f"{'≥' if target.at_least else '≤'} {target.limit:g} {target.unit}".strip()
            result = "met" if target.met_by(found.median) else "**missed**"
            rows.append((target.name, limit, f"{found.text(digits)} {target.unit}".strip(), result))
    return Table("Targets", ("figure", "target", "measured", ""), rows)
