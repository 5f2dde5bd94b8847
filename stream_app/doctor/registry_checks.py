"""The schema registry, for pipelines that read or write Avro."""

from collections.abc import Iterator

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped, warning
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.subjects import CheckedSubject, check_schemas, registered_in

_REGISTER = "Run `stream-app schemas register PIPELINE`"


def check_registry(it: DoctorContext) -> Iterator[CheckResult]:
    """It answers; what it has can be read with the pipeline's schemas, and of what is written in Avro it has all."""
    if it.pipeline.format == "json" and not it.settings.registry.url:
        yield skipped("no schema registry: none is configured, and the pipeline writes JSON")
        return
    registry = open_registry(it.settings.registry)
    for checked in check_schemas(it.pipeline, registered_in(registry)):
        yield judge_schema(checked, needed=it.pipeline.format == "avro")


def judge_schema(checked: CheckedSubject, *, needed: bool) -> CheckResult:
    """How one schema stands to what is registered; `needed` if records are written with it."""
    match checked.result:
        case "incompatible":
            first = checked.problems[0]
            return problem(
                f"the schema of {checked.subject} cannot read records of version {first.version}: {first.reason}",
                first.remedy,
            )
        case "new" if needed:
            return problem(
                f"the registry has no schema of {checked.subject}, which is written in Avro",
                _REGISTER,
            )
        case "compatible" if needed:
            return warning(f"the registry has an older schema of {checked.subject}", _REGISTER)
    return ok(f"the registry answers; versions of {checked.subject}: {checked.versions}")
