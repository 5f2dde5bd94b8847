"""Structured logs on standard error: JSON for machines, coloured text on a terminal."""

import getpass
import logging
import os
import socket
import sys
from collections.abc import Iterable

import orjson

from stream_app.deferred_imports import missing
from stream_app.records import Output
from stream_app.settings import LogSettings

# With it, structlog would print the local variables of each frame of a traceback.
with missing("rich"):
    import structlog
    from structlog.types import EventDict, Processor

_SHARED: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
)


def setup_logging(settings: LogSettings, **context: str | int) -> None:
    """Send the logs of structlog and of the standard library to standard error.

    The root logger stays at WARNING, so that libraries create no records in vain; the level of
    `settings` applies to this package.

    Args:
        context: fields added to every line, in all threads.
    """

    def add_context(_: object, __: str, event: EventDict) -> EventDict:
        return {**context, **event}

    shared: tuple[Processor, ...] = (add_context, *_SHARED)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=_renderers(settings), foreign_pre_chain=shared
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("stream_app").setLevel(settings.level.upper())
    # Faust warns if a process ends during an assignment, which a worker reports itself.
    logging.getLogger("faust.app.base").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger of a module.

    ``get_logger(__name__).info("started", role="score")``
    """
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def log_audit_entries(
    log: structlog.stdlib.BoundLogger, subject: str, outputs: Iterable[Output]
) -> None:
    """Log the audit entries among the outputs of a transaction, without their empty fields."""
    for output in outputs:
        if output.topic == "audit":
            entry = orjson.loads(output.value or b"")
            fields = {name: value for name, value in entry.items() if value is not None}
            log.info(f"{subject}: {fields.pop('operation')}", **fields.pop("counts"), **fields)


def _renderers(settings: LogSettings) -> list[Processor]:
    drop_meta: Processor = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty()):
        return [drop_meta, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [
        drop_meta,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]


def operator() -> str:
    """Return `user@host`; a user without a name, as in a container, is given by number."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
