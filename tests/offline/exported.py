"""Complete export of examples, as the command does it."""

from pathlib import Path

from stream_app.loading import load_pipeline
from stream_app.offline.example_export import ExampleExport, ExampleRange, Exported
from stream_app.settings import Settings
from stream_app.transfer.progress import report_progress
from tests.running_system import System


def export(
    system: System,
    to: Path,
    since: str = "0",
    until: str | None = None,
    settings: Settings | None = None,
) -> Exported:
    """Export the log of a system's pipeline and return the counts."""
    work = ExampleExport(
        ExampleRange(
            settings or system.settings, load_pipeline(str(system.pipeline)), since, until
        ),
        to,
    )
    with report_progress("test", work.size) as progress:
        work.find_columns(progress)
        return work.write(progress)
