"""What is written about a decision besides its control record, whoever takes it: marks and the audit."""

from stream_app.core.learning.control_record import Control
from stream_app.core.monitoring.audit_entry import ActName, act_output
from stream_app.model_store.annotations import Annotation, learning_mark
from stream_app.records import Output


def switched(name: str, control: Control, at: int, before: int | None) -> Output:
    """The audit, at `at` (epoch ms), of a rollback or promotion away from the version served `before`."""
    states = (_version(before), _version(control.version))
    return audited(
        name,
        control,
        at,
        f"version {control.version}",
        *states,
        identity=f"{control.act}-{control.epoch}",
    )


def held(name: str, control: Control, at: int) -> list[Output]:
    """Annotation and audit: learning is held."""
    mark = Annotation(True, control.at, control.who, control.why)
    return [learning_mark(mark), audited(name, control, at, "learning", "learning", "held")]


def audited(
    name: str, control: Control, at: int, what: str, before: str, after: str, identity: str = ""
) -> Output:
    """The audit of a decision about the pipeline so named: of `what`, and how that was and is."""
    act: ActName = "train" if control.act == "trained" else control.act
    return act_output(
        name,
        act,
        at=at,
        who=control.who,
        what=what,
        why=control.why,
        before=before,
        after=after,
        identity=identity,
        options={} if control.since is None else {"since": str(control.since)},
    )


def _version(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
