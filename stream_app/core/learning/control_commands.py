"""Control records of the examples log, such as rollbacks, and their effect on a learner's state.

`Learner` applies one: it loads the version, relearns examples, and notes it in `ControlState`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import orjson

from stream_app.core.learning.learning_rules import Exclusion, LearningRules, NotLearned
from stream_app.records import Output

ControlCommand = Literal[
    "rollback", "promote", "pause", "resume", "exclude", "include", "pin", "unpin", "trained"
]
CONTROL_KEY = b"control"

# Author of the control records that the learner itself writes.
LEARNER = "learner"
# Author of those that the monitor writes.
MONITOR = "monitor"

# Commands that select a version.
VERSION_CHANGES: frozenset[ControlCommand] = frozenset({"rollback", "promote"})

_COMMANDS = frozenset(get_args(ControlCommand))


class Control(NamedTuple):
    """Control record: a decision that takes effect at its offset in `<p>.examples`.

    Attributes:
        command: what to do.
        version: version that the command is about, or None.
        decision: number of rollbacks and promotions up to and including this one; 0 of the monitor,
            whose pauses hold whatever version is selected.
        at: time of the decision, ISO 8601.
        who: author, "user@host", "learner" or "monitor".
        why: reason given by the author.
        since: first offset whose examples a rollback or resumption relearns; None for none.
        source: source of labels that a pause, resumption or exclusion is about; None for all.
        exclusion: number of the exclusion that is made or withdrawn, None for other commands.
        start: first label time of an exclusion that is made, in Unix milliseconds.
        end: label time after its last one.
    """

    command: ControlCommand
    version: int | None
    decision: int
    at: str
    who: str
    why: str
    since: int | None = None
    source: str | None = None
    exclusion: int | None = None
    start: int | None = None
    end: int | None = None

    @property
    def needs_preparation(self) -> bool:
        """True if applying it takes loading a version or relearning examples."""
        return self.command in VERSION_CHANGES or (
            self.command == "resume" and self.since is not None
        )

    @property
    def resets_thresholds(self) -> bool:
        """True if thresholds start over with it: a selected version, or learning resumed.

        Void control records count, and those that cannot be applied; a resumed source does not.
        """
        is_resumption = self.command == "resume" and self.source is None
        return self.command in VERSION_CHANGES or is_resumption

    @property
    def new_exclusion(self) -> Exclusion | None:
        """Exclusion that is made, None for any other command."""
        if self.command != "exclude":
            return None
        if self.exclusion is None or self.start is None or self.end is None:
            return None
        return Exclusion(
            self.exclusion, self.start, self.end, self.source, self.at, self.who, self.why
        )

    def encode(self) -> bytes:
        """Return the JSON object that `<p>.examples` carries under `CONTROL_KEY`."""
        return orjson.dumps({"kind": "control", **self._asdict()})

    def output(self) -> Output:
        """Return the record to write."""
        return Output("examples", 0, CONTROL_KEY, self.encode())


def decode_control(value: bytes | None) -> Control | None:
    """Return the control record that a value holds, or None if it holds anything else."""
    if value is None or b'"control"' not in value:
        return None
    try:
        fields: dict[str, Any] = orjson.loads(value)
        if fields["kind"] != "control":
            return None
        control = Control(**{name: fields.get(name) for name in Control._fields})  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError):
        return None
    return control if _has_control_types(control) else None


def control_in(key: bytes | None, value: bytes | None) -> Control | None:
    """Return the control record of a log record, or None if it is not one."""
    return decode_control(value) if key == CONTROL_KEY else None


def learner_commands(
    decision: int, at: str, why: str, *, rollback_to: int | None = None
) -> list[Output]:
    """Return the control records by which the learner pauses learning, and perhaps rolls back.

    They are written in their own transaction and applied when the learner reads them back; alias,
    annotation and audit entry follow then. All of them are void if somebody else selects a version
    before they come in the log, or if the same was requested twice.

    Args:
        decision: number of decisions in the learner's state.
        at: time, ISO 8601.
        why: reason for the audit.
        rollback_to: version to roll back to, or None to pause only.
    """
    pause = Control("pause", None, decision, at, LEARNER, why).output()
    if rollback_to is None:
        return [pause]
    return [pause, Control("rollback", rollback_to, decision + 1, at, LEARNER, why).output()]


def _has_control_types(control: Control) -> bool:
    return (
        control.command in _COMMANDS
        and type(control.decision) is int
        and all(type(one) in (int, type(None)) for one in _integers(control))
        and type(control.source) in (str, type(None))
        and all(type(text) is str for text in (control.at, control.who, control.why))
        and (control.command != "exclude" or control.new_exclusion is not None)
        and (control.command != "include" or control.exclusion is not None)
    )


def _integers(control: Control) -> tuple[int | None, ...]:
    return control.version, control.since, control.exclusion, control.start, control.end


@dataclass(slots=True, kw_only=True)
class ControlState:
    """Decisions that were applied to a learner; a function of the examples log alone.

    Attributes:
        decision: number of rollbacks and promotions so far.
        decided_at: offset of the last of them, -1 before the first.
        base_version: version that it selected, None before the first.
        selected_versions: every version that was ever selected.
        paused: True while examples are evaluated but not learned.
        rules: paused sources and exclusions.
        is_limited: True if some examples may not be learned.
    """

    decision: int = 0
    decided_at: int = -1
    base_version: int | None = None
    selected_versions: frozenset[int] = frozenset()
    paused: bool = False
    rules: LearningRules = field(default_factory=LearningRules)
    is_limited: bool = False

    def set_rules(self, rules: LearningRules) -> None:
        """Replace paused sources and exclusions."""
        self.rules = rules
        self.is_limited = self.paused or not rules.is_empty

    def not_learned(self, label_time: int, source: str | None) -> NotLearned | None:
        """Return the reason why the next example is not learned, None if it is.

        Args:
            label_time: its label time in Unix milliseconds.
            source: source of its label, None if it has none.
        """
        return "paused" if self.paused else self.rules.reason(label_time, source)

    def is_superseded(self, version: int) -> bool:
        """Return True if the last decision moved away from the version that made a prediction."""
        return 0 <= version <= self.decided_at and version != self.base_version

    def is_void(self, control: Control) -> bool:
        """Return True if a control record has no effect.

        Either a concurrent decision came first in the log, or nothing would change. A pause that
        the learner requested is void if somebody has selected a version since.
        """
        if control.command in VERSION_CHANGES:
            return control.decision <= self.decision or control.version is None
        match control.command:
            case "pause":
                is_outdated = control.who == LEARNER and control.decision < self.decision
                return is_outdated or self._is_paused(control.source)
            case "resume":
                return not self._is_paused(control.source)
            case "exclude":
                return (control.exclusion or 0) <= self.rules.last_exclusion
            case "include":
                return not self.rules.has_exclusion(control.exclusion or 0)
        return False

    def apply(self, offset: int, control: Control) -> None:
        """Apply the control record at an offset of the log, which must not be void."""
        if control.command in VERSION_CHANGES and control.version is not None:
            self.decision, self.decided_at = control.decision, offset
            self.base_version = control.version
            self.selected_versions |= {control.version}
        elif control.command in ("pause", "resume") and control.source is None:
            self.paused = control.command == "pause"
        self.set_rules(self._rules_after(control))

    def _is_paused(self, source: str | None) -> bool:
        return self.paused if source is None else source in self.rules.paused_sources

    def _rules_after(self, control: Control) -> LearningRules:
        """Return the rules after a control record."""
        rules, source, made = self.rules, control.source, control.new_exclusion
        if control.command == "pause" and source is not None:
            return rules.pause(source)
        if control.command == "resume" and source is not None:
            return rules.resume(source)
        if made is not None:
            return rules.exclude(made)
        if control.command == "include" and control.exclusion is not None:
            return rules.include(control.exclusion)
        return rules
