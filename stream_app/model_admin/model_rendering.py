"""The registry, a version, a difference and the audit as people read them, and as JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from stream_app.formatting import counted, iso_time
from stream_app.model_admin.verification import VerificationResult
from stream_app.model_admin.version_diff import VersionDiff
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.transfer.record_rendering import harmless

_MILLISECONDS = 23  # characters of an ISO 8601 time up to them
_LONG = 60  # characters of a parameter that are shown


def marks_of(registry: ModelRegistry, version: int) -> list[str]:
    """What is special about a version: served, pinned, trained."""
    manifest = registry.versions[version]
    found = {
        "served": registry.served == version,
        "pinned": version in registry.pins,
        "trained": manifest.origin == "trained",
    }
    return [name for name, true in found.items() if true]


def entry(registry: ModelRegistry, version: int) -> dict[str, Any]:
    """A version for programs: its manifest, and what is special about it."""
    marks = marks_of(registry, version)
    pin = registry.pins.get(version)
    about = {"served": "served" in marks, "pinned": None if pin is None else pin._asdict()}
    return registry.versions[version]._asdict() | about


def registry_object(registry: ModelRegistry) -> dict[str, Any]:
    """All of it for programs."""
    aliases = {"champion": registry.champion, "ordered": registry.ordered}
    return {
        "served": registry.served,
        "aliases": {
            name: None if alias is None else alias._asdict() for name, alias in aliases.items()
        },
        "learning": {"held": registry.held, **_said(registry)},
        "unreadable": registry.unreadable,
        "versions": [entry(registry, version) for version in registry.versions],
    }


def _said(registry: ModelRegistry) -> dict[str, str]:
    mark = registry.learning
    return {} if mark is None else {"since": mark.at, "who": mark.who, "why": mark.why}


def version_table(
    registry: ModelRegistry, versions: Iterable[int], metrics: Sequence[str]
) -> Table:
    """One line per version, with these of its metrics."""
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
            manifest.created_at[:_MILLISECONDS],
            "" if manifest.parent is None else str(manifest.parent),
            f"{manifest.learned:,}",
            *(_number(manifest.metrics.get(name)) for name in metrics),
            ", ".join(marks_of(registry, version)),
        )
    return table


def version_lines(registry: ModelRegistry, manifest: Manifest, state: str) -> RenderableType:
    """All that a manifest says; `state` is whether it loads."""
    facts: list[tuple[str, str]] = [
        ("version", f"{manifest.version}  {', '.join(marks_of(registry, manifest.version))}"),
        ("artifact", f"{manifest.sha256}, {manifest.size:,} bytes, {manifest.format}: {state}"),
        (
            "created",
            f"{manifest.created_at[:_MILLISECONDS]} by {manifest.created_by} ({manifest.origin})",
        ),
        ("parent", "none" if manifest.parent is None else str(manifest.parent)),
        ("learned", f"{manifest.learned:,} examples" + _through(manifest.learned_through)),
        ("pipeline", f"{manifest.name}, fingerprint {manifest.fingerprint}"),
        ("made with", f"Python {manifest.python}, river {manifest.river}, numpy {manifest.numpy}"),
        ("family", manifest.family),
        ("seed", "" if manifest.seed is None else str(manifest.seed)),
        ("signed by", manifest.key_id),
        ("decisions before", str(manifest.epoch)),
    ]
    pin = registry.pins.get(manifest.version)
    if pin is not None:
        facts.append(("pinned", f"{pin.at[:_MILLISECONDS]} by {pin.who}: {harmless(pin.why)}"))
    if manifest.window is not None:
        facts.append(("metrics of", f"{manifest.window.get('n', 0):,} labels"))
    parts: list[RenderableType] = [_facts((name, value) for name, value in facts if value)]
    for title, values in (("metric", manifest.metrics), ("laboratory", manifest.laboratory)):
        if values:
            parts += [
                "",
                _facts(((name, _number(value)) for name, value in values.items()), title, ""),
            ]
    if manifest.parameters:
        parts += [
            "",
            _facts(((name, _short(v)) for name, v in manifest.parameters.items()), "parameter", ""),
        ]
    limits = manifest.thresholds.get("metrics")
    if limits:
        parts += [
            "",
            _facts(((name, _limit(limit)) for name, limit in limits.items()), "threshold", ""),
        ]
    if manifest.profile:
        parts += ["", _profile(manifest.profile)]
    elif manifest.features:
        parts += ["", f"features: {', '.join(manifest.features)}"]
    return Group(*parts)


def difference_lines(difference: VersionDiff) -> RenderableType:
    """Only what differs, but for metrics, which are all shown."""
    a, b = f"version {difference.a}", f"version {difference.b}"
    parts: list[RenderableType] = []
    for title, pairs in (
        ("", difference.fields),
        ("metric", difference.metrics),
        ("laboratory", difference.laboratory),
        ("parameter", difference.parameters),
        ("threshold", difference.thresholds),
    ):
        if pairs:
            table = plain_table(title, a, b)
            for name, pair in pairs.items():
                show = _time if name == "learned_through" else _short
                table.add_row(name, show(pair.a), show(pair.b))
            parts += [table, ""]
    for what, names in (
        ("added", difference.features_added),
        ("removed", difference.features_removed),
    ):
        if names:
            parts += [f"features {what}: {', '.join(names)}", ""]
    if difference.profile:
        table = plain_table("mean of", a, b, "shift in deviations", right=(1, 2, 3))
        for name, shift in sorted(
            difference.profile.items(), key=lambda one: -abs(one[1].distance or 0.0)
        ):
            table.add_row(name, _number(shift.a), _number(shift.b), _number(shift.distance))
        parts += [table, ""]
    return Group(*parts[:-1]) if parts else "No difference."


def act_lines(acts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line per act."""
    for act in acts:
        before, after = act.get("before"), act.get("after")
        change = f"{before} -> {after}" if before is not None or after is not None else act["what"]
        yield harmless(
            f"{act['at'][:_MILLISECONDS]}  {act['act']:<9} {change}  by {act['who']}: {act['why']}"
        )


def verdict_line(verdict: VerificationResult) -> str:
    """What came of learning a version again."""
    base = "from nothing" if verdict.base is None else f"from version {verdict.base}"
    done = f"Version {verdict.version}, learned again {base} over {verdict.records:,} records, "
    scores = f"scores of {verdict.compared:,} examples ({verdict.served:,} as it served them)"
    if verdict.reproduced:
        return f"{done}is the same bit for bit: every number of the model, and its {scores}"
    where = "" if verdict.difference is None else f"the models differ in {verdict.difference}; "
    return f"{done}is NOT the same: {where}{verdict.unequal:,} of its {scores} differ"


def plain_table(*columns: str, right: Sequence[int] = ()) -> Table:
    """A table without lines; the columns with the numbers `right` are aligned so."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", overflow="fold")
    return table


def _facts(rows: Iterable[tuple[str, str]], *header: str) -> Table:
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
    row = counted(limit["windows"], "window")
    return f"{_number(limit['limit'])} in {row} with {counted(limit['labels'], 'label')} at least"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _short(value: Any) -> str:
    if value is None or isinstance(value, int | float):
        return _number(value)
    text = str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _through(time: int | None) -> str:
    return "" if time is None else f", labels until {iso_time(time)}"


def _time(value: int | None) -> str:
    return "" if value is None else iso_time(value)


def _after(first: int, names: Sequence[str]) -> range:
    return range(first, first + len(names))
