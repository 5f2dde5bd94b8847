"""The answer's figures in sentences."""

from collections.abc import Mapping

from stream_app.formatting import counted, duration
from stream_app.status.status_model import Status

_TELLING = ("roc_auc", "log_loss", "accuracy", "mae", "r2")  # metrics, the first two that there are


def facts(status: Status) -> dict[str, str]:
    """One line for each thing that people ask about, by its name."""
    books, lines = status.books, {}
    if status.rates is not None:
        rates = status.rates
        lines["rates"] = (
            f"{rates.events_in:,.0f} events/s in, {rates.scored:,.0f}/s scored, "
            f"{rates.labels_in:,.0f} labels/s in, {rates.joined:,.0f}/s joined"
        )
    lines["model"] = _model(status)
    lines["events"] = (
        f"{books.events:,}: {books.scored:,} scored"
        + (f" ({books.degraded:,} by a fallback)" if books.degraded else "")
        + f", {counted(books.duplicates, 'duplicate')}"
        + (f", {books.retrying:,} to be tried again" if books.retrying else "")
        + _dead(books.dead)
    )
    lines["labels"] = (
        f"{books.labels:,}: {books.joined:,} joined, {books.waiting:,} waiting for their event, "
        f"{counted(books.label_duplicates, 'duplicate')}, {books.label_expired:,} too late"
        + _dead(books.label_dead)
    )
    lines["predictions"] = (
        f"{books.scored:,}: {books.joined:,} with label, {books.pending:,} wait for it, {books.expired:,} expired"
        + ("; the books balance" if books.balanced else "; THE BOOKS DO NOT BALANCE")
    )
    lines["label coverage"] = _coverage(status)
    lines["dead letters"] = _recent(status)
    return lines


def _model(status: Status) -> str:
    model = status.model
    if model is None:
        return "none published"
    told = [name for name in _TELLING if name in model.metrics][:2]
    metrics = ", ".join(f"{name} {model.metrics[name]:.3f}" for name in told)
    return (
        f"version {model.version}, {duration(model.age_seconds)} old, {model.learned:,} learned, "
        f"{model.behind:,} behind" + (f"; {metrics}" if metrics else "")
    )


def _dead(codes: Mapping[str, int]) -> str:
    return f", {sum(codes.values()):,} dead" + (f" ({_codes(codes)})" if codes else "")


def _codes(codes: Mapping[str, int]) -> str:
    return ", ".join(
        f"{code} {count:,}" for code, count in sorted(codes.items(), key=lambda item: -item[1])
    )


def _coverage(status: Status) -> str:
    labels = status.labels
    if labels.coverage is None:
        return "not measured yet"
    delay = ""
    if labels.delay_p50 is not None and labels.delay_p95 is not None:
        delay = f"; delay {duration(labels.delay_p50)} median, {duration(labels.delay_p95)} at 95 %"
    return f"{labels.coverage:.1%} of the window to {(labels.window_end or '')[:16]}{delay}"


def _recent(status: Status) -> str:
    recent = status.recent_dead_letters
    counts = {**recent.events}
    for code, count in recent.labels.items():
        counts[code] = counts.get(code, 0) + count
    least = "" if recent.complete else "at least "
    return f"in the last {recent.minutes} min: {least + _codes(counts) if counts else 'none'}"
