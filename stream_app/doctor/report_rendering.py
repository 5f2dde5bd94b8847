"""The report as text: problems come last, where a terminal shows them."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream_app.doctor.context import Level, ReportedResult
from stream_app.formatting import counted

_SYMBOLS: Mapping[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "skipped": ("·", "dim"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
}


def render(results: Sequence[ReportedResult]) -> Group:
    """Return one line per result, its remedy below it, and a summary line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    order = list(_SYMBOLS)
    for result in sorted(_grouped(results), key=lambda result: order.index(result.level)):
        table.add_row(*_row(result))
    return Group(table, Text(), _summary(results))


def _grouped(results: Sequence[ReportedResult]) -> Iterator[ReportedResult]:
    """Yield the results, with those skipped for the same reason combined into one."""
    areas: dict[str, list[str]] = {}
    for result in results:
        if result.level == "skipped":
            areas.setdefault(result.message, []).append(result.area)
        else:
            yield result
    for message, skipped in areas.items():
        names = list(dict.fromkeys(skipped))
        listed = f": {', '.join(names)}" if len(names) > 1 else ""
        area = names[0] if len(names) == 1 else ""
        yield ReportedResult(area, "skipped", message + listed, "")


def _row(result: ReportedResult) -> tuple[Text, RenderableType]:
    symbol, style = _SYMBOLS[result.level]
    skipped = result.level == "skipped"
    message = Text(f"{'not checked: ' * skipped}{result.message}", style="dim" if skipped else "")
    cell = Group(message, Text(f"→ {result.remedy}")) if result.remedy else message
    return Text(f"{symbol} {result.area}", style=style), cell


def _summary(results: Sequence[ReportedResult]) -> Text:
    problems, warnings = (
        sum(result.level == level for result in results) for level in ("problem", "warning")
    )
    if problems:
        text = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}"
        return Text(text, style="bold red")
    if warnings:
        return Text(f"no problem, {counted(warnings, 'warning')}", style="yellow")
    return Text("no problems found", style="bold green")
