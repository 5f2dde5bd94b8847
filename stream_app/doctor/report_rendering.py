"""The report for people: what is well first, what is not last, where it is seen."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream_app.doctor.results import Level
from stream_app.doctor.runner import Reported

_SYMBOLS: Mapping[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "skipped": ("·", "dim"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
}


def render(findings: Sequence[Reported]) -> Group:
    """One line each, with the remedy below it, and the sum of it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    order = list(_SYMBOLS)
    for finding in sorted(_together(findings), key=lambda finding: order.index(finding.level)):
        table.add_row(*_row(finding))
    return Group(table, Text(), _summary(findings))


def _together(findings: Sequence[Reported]) -> Iterator[Reported]:
    """What is skipped for one reason, on one line."""
    areas: dict[str, list[str]] = {}
    for finding in findings:
        if finding.level == "skipped":
            areas.setdefault(finding.message, []).append(finding.area)
        else:
            yield finding
    for message, skipped in areas.items():
        names = list(dict.fromkeys(skipped))
        listed = f": {', '.join(names)}" if len(names) > 1 else ""
        yield Reported(names[0] if len(names) == 1 else "", "skipped", message + listed, "")


def _row(finding: Reported) -> tuple[Text, RenderableType]:
    """What it is about, and what was found."""
    symbol, style = _SYMBOLS[finding.level]
    said = "not checked: " if finding.level == "skipped" else ""
    message = Text(said + finding.message, style="dim" if finding.level == "skipped" else "")
    found = Group(message, Text(f"→ {finding.remedy}")) if finding.remedy else message
    return Text(f"{symbol} {finding.area}", style=style), found


def _summary(findings: Sequence[Reported]) -> Text:
    counts = {level: sum(finding.level == level for finding in findings) for level in _SYMBOLS}
    if counts["problem"]:
        return Text(
            f"{_many(counts['problem'], 'problem')}, {_many(counts['warning'], 'warning')}",
            style="bold red",
        )
    if counts["warning"]:
        return Text(f"no problem, {_many(counts['warning'], 'warning')}", style="yellow")
    return Text("all is well", style="bold green")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
