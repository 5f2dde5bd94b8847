"""Why dead letters are not acted on, and what they are called."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.replay_plan import ReplayPlan
from stream_app.errors import ReplayError, SelectionError
from stream_app.formatting import iso_time


def nothing_open(
    what: str, states: Mapping[str, int], unfinished: Iterable[str] = ()
) -> SelectionError:
    """The error of a selection without open letters; `unfinished` are replays that have such letters still to send."""
    if not states:
        return SelectionError(
            f"No dead letter fits {what}", "See `stream-app dead-letters groups PIPELINE`"
        )
    listed = ", ".join(f"{number:,} {state}" for state, number in sorted(states.items()))
    others = ", ".join(unfinished)
    return SelectionError(
        f"No dead letter that fits {what} is open: {listed}",
        f"Go on with the unfinished replay {others}: the same command as then, or restore it"
        if others
        else "See `stream-app dead-letters status PIPELINE`",
    )


def check_name(replay_id: str | None) -> None:
    """SelectionError unless it can be the name of a replay."""
    if replay_id is not None and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", replay_id):
        raise SelectionError(
            f"{replay_id} cannot name a replay", "Use small letters, digits and -, at most 40"
        )


def in_words(selection: DeadLetterSelection) -> str:
    """What is selected, e.g. "group 5f0c, since 2026-01-31": the same for the same selection."""
    names = {
        "ids": "id",
        "groups": "group",
        "codes": "code",
        "classes": "class",
        "stages": "stage",
        "keys": "key",
    }
    parts = []
    for one in fields(DeadLetterSelection):
        value = getattr(selection, one.name)
        if one.name in ("since", "until") and value is not None:
            value = iso_time(value)
        if value not in ((), None, (None, None)):
            values = value if isinstance(value, tuple) and one.name in names else (value,)
            shown = " or ".join(
                v.decode("utf-8", "replace") if isinstance(v, bytes) else _shown(v) for v in values
            )
            parts.append(f"{names.get(one.name, one.name)} {shown}")
    return ", ".join(parts) or "all dead letters"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join("" if bound is None else str(bound) for bound in value)
    return str(value)


def refuse(plan: ReplayPlan, relapse: float, *, force: bool) -> None:
    """Raise ReplayError for a plan that should not be carried out: a broken edit, or letters that would fail again.

    `force` sends what would fail all the same, but never what an edit has broken.
    """
    if plan.edit_failures:
        reason, where = plan.edit_failures.most_common(1)[0][0]
        raise ReplayError(
            f"The edit fails for {plan.edit_failures.total():,} dead letters: {reason} at {where}",
            "Mend it",
        )
    first = plan.sample.get(plan.failing.most_common(1)[0][0]) if plan.failing else None
    if first is None:
        return
    example = (
        f"{first.code} {plan.failing[first.code]:,}, e.g. {first.ref.error_id}: {first.message}"
    )
    if plan.edited is not None and plan.broken:
        raise ReplayError(
            f"Edited, {plan.broken:,} of {plan.sending:,} do not fit the schema: {example}",
            "Mend the edit",
        )
    if plan.relapse > relapse and not force:
        late = plan.failing["event-too-late"]
        raise ReplayError(
            f"{plan.failing.total():,} of {plan.sending:,} would fail again: {example}",
            "Too old ones cannot be scored under this pipeline's name: drop them"
            if late == plan.failing.total()
            else "Mend the pipeline, or the letters with --edit; or send them all the same with --force",
        )
