"""The environment."""

from collections.abc import Iterator

from stream_app.clients.security import check_security
from stream_app.doctor.examined import Examined
from stream_app.doctor.findings import Finding, ok, warning


def check_settings(it: Examined) -> Iterator[Finding]:
    """Every variable is known and well-formed, and those of security belong together."""
    check_security(it.settings.kafka)
    yield ok("the settings are valid")
    if it.settings.worker.accept_data_loss:
        yield warning(
            "STREAM_APP_WORKER__ACCEPT_DATA_LOSS is set: workers pass over records that are gone, without a word",
            "Unset it as soon as they have started",
        )
