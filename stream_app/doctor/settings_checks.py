"""The environment."""

from collections.abc import Iterator

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, warning
from stream_app.kafka.security import check_security


def check_settings(it: DoctorContext) -> Iterator[CheckResult]:
    """Every variable is known and well-formed, and those of security belong together."""
    check_security(it.settings.kafka)
    yield ok("the settings are valid")
    if it.settings.worker.accept_data_loss:
        yield warning(
            "STREAM_APP_WORKER__ACCEPT_DATA_LOSS is set: workers pass over records that are gone, without a word",
            "Unset it as soon as they have started",
        )
