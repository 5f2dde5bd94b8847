"""Exporting to the end, as the command does."""

from pathlib import Path

from stream_app.clients.progress import reporter
from stream_app.laboratory.exporting import Export, Exported, Log
from stream_app.settings import Settings


def export(settings: Settings, pipeline: str, to: Path, since: str = "0", until: str | None = None) -> Exported:
    """What was exported of a pipeline's log."""
    work = Export(Log(settings, pipeline, since, until), to)
    with reporter("test", work.size) as progress:
        work.look(progress)
        return work.write(progress)
