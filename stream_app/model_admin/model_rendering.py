"""Registry, versions, differences and audit as text and as JSON."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from stream_app.formatting import counted, iso_time
from stream_app.model_admin.version_diff import VersionDiff
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.transfer.record_rendering import sanitize_for_terminal

# Length of an ISO 8601 time up to the milliseconds.
_TIME_LENGTH = 23
# Longest text of a value that is not shortened.
_MAX_LENGTH = 60


def tags_of(registry: ModelRegistry, version: int) -> list[str]:
    """Return those of "served", "pinned" and "trained" that apply to a version."""
    manifest = registry.versions[version]
    tags = {
        "served": registry.served == version,
        "pinned": version in registry.pins,
        "trained": manifest.origin == "trained",
    }
    return [name for name, applies in tags.items() if applies]


def version_object(registry: ModelRegistry, version: int) -> dict[str, Any]:
    """Return the manifest of a version, with its pin and whether it is served, as JSON values."""
    tags = tags_of(registry, version)
    pin = registry.pins.get(version)
    state = {"served": "served" in tags, "pinned": None if pin is None else pin._asdict()}
    return registry.versions[version]._asdict() | state


def registry_object(registry: ModelRegistry) -> dict[str, Any]:
    """Return the registry as JSON values."""
    aliases = {"champion": registry.champion, "requested": registry.requested}
    return {
        "served": registry.served,
        "aliases": {
            name: None if alias is None else alias._asdict() for name, alias in aliases.items()
        },
        "learning": {
            "paused": registry.paused,
            **_last_change(registry),
            "paused_sources": list(registry.rules.paused_sources),
            "exclusions": [one._asdict() for one in registry.rules.exclusions],
        },
        "unreadable": registry.unreadable,
        "versions": [version_object(registry, version) for version in registry.versions],
    }


def _last_change(registry: ModelRegistry) -> dict[str, str]:
    last = registry.learning
    return {} if last is None else {"since": last.at, "who": last.who, "why": last.why}


def version_table(
    registry: ModelRegistry, versions: Iterable[int], metrics: Sequence[str]
) -> Table:
    """Return a table of versions with these metrics."""
    table = plain_table(
        "version",
        "created",
        "parent",
        "learned",
        *metrics,
        "",
        right=(0, 2, 3, *_after(4, metrics)),
    )
    for version in versions:
        manifest = registry.versions[version]
        table.add_row(
            str(version),
            manifest.created_at[:_TIME_LENGTH],
            "" if manifest.parent is None else str(manifest.parent),
            f"{manifest.learned:,}",
            *(_number(manifest.metrics.get(name)) for name in metrics),
            ", ".join(tags_of(registry, version)),
        )
    return table


def version_lines(registry: ModelRegistry, manifest: Manifest, state: str) -> RenderableType:
    """Return a manifest as text; `state` says if it loads."""
    rows: list[tuple[str, str]] = [
        ("version", f"{manifest.version}  {', '.join(tags_of(registry, manifest.version))}"),
        ("artifact", f"{manifest.sha256}, {manifest.size:,} bytes, {manifest.format}: {state}"),
        (
            "created",
            f"{manifest.created_at[:_TIME_LENGTH]} by {manifest.created_by} ({manifest.origin})",
        ),
        ("parent", "none" if manifest.parent is None else str(manifest.parent)),
        ("learned", f"{manifest.learned:,} examples" + _through(manifest.learned_through)),
        ("pipeline", f"{manifest.name}, fingerprint {manifest.fingerprint}"),
        ("made with", f"Python {manifest.python}, river {manifest.river}, numpy {manifest.numpy}"),
        ("family", manifest.family),
        ("seed", "" if manifest.seed is None else str(manifest.seed)),
        ("signed by", manifest.key_id),
        ("decisions before", str(manifest.decision)),
        ("paused", ", ".join(manifest.paused_sources)),
        ("exclusions", ", ".join(f"{one['number']}" for one in manifest.exclusions)),
    ]
    pin = registry.pins.get(manifest.version)
    if pin is not None:
        rows.append(
            ("pinned", f"{pin.at[:_TIME_LENGTH]} by {pin.who}: {sanitize_for_terminal(pin.why)}")
        )
    if manifest.window is not None:
        rows.append(("metrics of", f"{manifest.window.get('n', 0):,} labels"))
    parts: list[RenderableType] = [_name_value_table([row for row in rows if row[1]])]
    sections: tuple[tuple[str, Mapping[str, Any], Callable[[Any], str]], ...] = (
        ("metric", manifest.metrics, _number),
        ("offline metric", manifest.offline_metrics, _number),
        ("parameter", manifest.parameters, _short),
        ("threshold", manifest.thresholds.get("metrics") or {}, _limit),
    )
    for title, values, text in sections:
        if values:
            listed = [(name, text(value)) for name, value in values.items()]
            parts += ["", _name_value_table(listed, title, "")]
    if manifest.profile:
        parts += ["", _profile(manifest.profile)]
    elif manifest.features:
        parts += ["", f"features: {', '.join(manifest.features)}"]
    return Group(*parts)


def diff_text(diff: VersionDiff) -> RenderableType:
    """Return the differences as text; metrics are all shown."""
    a, b = f"version {diff.a}", f"version {diff.b}"
    parts: list[RenderableType] = []
    for title, pairs in (
        ("", diff.fields),
        ("metric", diff.metrics),
        ("offline metric", diff.offline_metrics),
        ("parameter", diff.parameters),
        ("threshold", diff.thresholds),
    ):
        if pairs:
            table = plain_table(title, a, b)
            for name, pair in pairs.items():
                show = _time if name == "learned_through" else _short
                table.add_row(name, show(pair.a), show(pair.b))
            parts += [table, ""]
    for what, names in (
        ("added", diff.features_added),
        ("removed", diff.features_removed),
    ):
        if names:
            parts += [f"features {what}: {', '.join(names)}", ""]
    if diff.profile:
        table = plain_table("mean of", a, b, "shift in deviations", right=(1, 2, 3))
        for name, shift in sorted(
            diff.profile.items(), key=lambda one: -abs(one[1].distance or 0.0)
        ):
            table.add_row(name, _number(shift.a), _number(shift.b), _number(shift.distance))
        parts += [table, ""]
    return Group(*parts[:-1]) if parts else "No difference."


def audit_lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each audit entry."""
    for entry in entries:
        before, after = entry.get("before"), entry.get("after")
        known = before is not None or after is not None
        change = f"{before} -> {after}" if known else entry["what"]
        yield sanitize_for_terminal(
            f"{entry['at'][:_TIME_LENGTH]}  {entry['operation']:<9} {change}  "
            f"by {entry['who']}: {entry['why']}"
        )


def plain_table(*columns: str, right: Sequence[int] = ()) -> Table:
    """Return a table without lines; the columns with the numbers `right` are right-aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", overflow="fold")
    return table


def _name_value_table(rows: Iterable[tuple[str, str]], *header: str) -> Table:
    table = plain_table(*(header or ("", "")))
    table.show_header = bool(header)
    for row in rows:
        table.add_row(*row)
    return table


def _profile(profile: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ("n", "mean", "deviation", "minimum", "maximum")
    table = plain_table("profile of", *names, right=range(1, 6))
    for feature, values in profile.items():
        table.add_row(feature, *(_number(values.get(name)) for name in names))
    return table


def _limit(limit: Mapping[str, Any]) -> str:
    windows, labels = counted(limit["windows"], "window"), counted(limit["min_labels"], "label")
    return f"{_number(limit['limit'])} in {windows} with at least {labels}"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _short(value: Any) -> str:
    if value is None or isinstance(value, int | float):
        return _number(value)
    text = str(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 3]}..."


def _through(time: int | None) -> str:
    return "" if time is None else f", labels until {iso_time(time)}"


def _time(value: int | None) -> str:
    return "" if value is None else iso_time(value)


def _after(first: int, names: Sequence[str]) -> range:
    return range(first, first + len(names))
