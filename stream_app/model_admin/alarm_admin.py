"""Decisions about alarms: acknowledge, silence and unsilence.

Each is one transaction that writes a record to `<p>.alarms` and an audit entry.
"""

from collections.abc import Callable

from stream_app.core.alarms.alarm_log import (
    Acknowledgement,
    AlarmLog,
    Silence,
    end_of_silence,
    silence_key,
)
from stream_app.core.alarms.alarm_record import AlarmRecord
from stream_app.core.monitoring.audit_entry import AlarmOperation, AuditEntry
from stream_app.errors import DecisionError, FencedError
from stream_app.formatting import iso_time
from stream_app.model_admin.topic_admin import TopicAdmin
from stream_app.model_store.model_registry import Reason
from stream_app.records import Output
from stream_app.settings import Settings
from stream_app.transfer.record_rendering import sanitize_for_terminal

_LIST = "See `stream-app alarms list PIPELINE --all`"


class AlarmAdmin(TopicAdmin):
    """Admin client for the alarms of one pipeline; raises as `TopicAdmin`."""

    def __init__(self, settings: Settings, name: str) -> None:
        super().__init__(settings, name, "alarm-admin", "alarms", ("alarms", "audit"))

    def alarms(self) -> AlarmLog:
        """Return the present alarms, acknowledgements and silences."""
        return AlarmLog.of(self.read_all("alarms"))

    def decide(self, make: Callable[[AlarmLog], list[Output]]) -> None:
        """Write a decision in one transaction; one that is rejected needs no right to write.

        Args:
            make: returns the records to write; may reject the decision by raising.

        Raises:
            FencedError: somebody else decided at the same time.
        """
        make(self.alarms())

        def outputs() -> list[Output]:
            self.wait_until_complete("alarms")
            return make(self.alarms())

        try:
            self.write(outputs)
        except FencedError as error:
            raise FencedError(
                "Somebody else acknowledged or silenced an alarm at the same time",
                "Look at them again (`stream-app alarms list PIPELINE`), then repeat the command "
                "if needed",
            ) from error


def acknowledge(admin: AlarmAdmin, id_: str, why: Reason) -> AlarmRecord:
    """Acknowledge an open alarm, and return it.

    Raises:
        DecisionError: it does not exist, is closed, or is acknowledged already.
    """
    made: list[AlarmRecord] = []

    def make(now: AlarmLog) -> list[Output]:
        alarm = now.alarms.get(id_)
        if alarm is None:
            raise DecisionError(f"There is no alarm {id_!r}", _LIST)
        if alarm.closed_at is not None:
            raise DecisionError(f"Alarm {id_} is closed since {iso_time(alarm.closed_at)}", _LIST)
        known = now.acknowledgements.get(id_)
        if known is not None:
            raise DecisionError(
                f"Alarm {id_} is acknowledged already, by "
                + sanitize_for_terminal(f"{known.who} at {known.at}: {known.why}"),
                "Nothing is left to do",
            )
        made.append(alarm)
        record = Acknowledgement(id_, iso_time(why.at), why.who, why.why).output()
        audit = _audit(admin, "acknowledge", f"alarm {id_}", why, "open", "acknowledged")
        return [record, audit]

    admin.decide(make)
    return made[-1]


def silence(admin: AlarmAdmin, name: str, source: str | None, until: int, why: Reason) -> Silence:
    """Silence alarms of a name until a time, and return the silence.

    Args:
        source: source of the alarms, None for all.
        until: wall-clock time in Unix milliseconds.

    Raises:
        DecisionError: they are silenced already.
    """
    made = Silence(name, source, until, iso_time(why.at), why.who, why.why)

    def make(now: AlarmLog) -> list[Output]:
        known = _in_force(now, name, source, why.at)
        if known is not None:
            raise DecisionError(
                f"{_alarms_of(known)} are silenced already until {iso_time(known.until)}, by "
                + sanitize_for_terminal(f"{known.who} since {known.at}: {known.why}"),
                "To change that, end it first: `stream-app alarms unsilence PIPELINE NAME`",
            )
        after = f"until {iso_time(until)}"
        return [made.output(), _audit(admin, "silence", _alarms_of(made), why, None, after)]

    admin.decide(make)
    return made


def unsilence(admin: AlarmAdmin, name: str, source: str | None, why: Reason) -> Silence:
    """End a silence before its time, and return it.

    Args:
        source: source for which it was given, None for all.

    Raises:
        DecisionError: no such silence is in force.
    """
    made: list[Silence] = []

    def make(now: AlarmLog) -> list[Output]:
        known = _in_force(now, name, source, why.at)
        if known is None:
            raise DecisionError(f"No silence of {name} {_of(source)} is in force", _LIST)
        made.append(known)
        before = f"until {iso_time(known.until)}"
        audit = _audit(admin, "unsilence", _alarms_of(known), why, before, None)
        return [end_of_silence(known), audit]

    admin.decide(make)
    return made[-1]


def _in_force(log: AlarmLog, name: str, source: str | None, now: int) -> Silence | None:
    known = log.silences.get(silence_key(name, source))
    return known if known is not None and now < known.until else None


def _alarms_of(one: Silence) -> str:
    return f"Alarms {one.name} {_of(one.source)}"


def _of(source: str | None) -> str:
    return "of all sources" if source is None else f"of {source}"


def _audit(
    admin: AlarmAdmin,
    operation: AlarmOperation,
    what: str,
    why: Reason,
    before: str | None,
    after: str | None,
) -> Output:
    entry = AuditEntry(operation, why.at, why.who, what, why.why, before, after)
    return entry.output(admin.name)
