"""Say why a broker did not start, from what it wrote before it ended."""

import re
from pathlib import Path

import psutil

from stream_app.broker.broker_errors import (
    BrokerDiedError,
    DataDirInUseError,
    DiskError,
    PortTakenError,
    disk_full,
)
from stream_app.errors import BrokerError

_TELLING = re.compile(
    r"\b(ERROR|FATAL)\b|^(Caused by|Error|Exception in|[\w.]+(Exception|Error)\b)"
)
_LINES = 3


def failed(folder: Path, text: str, log_file: Path) -> BrokerError:
    """The error for a broker in `folder` that ended while starting and had written `text`, most of it to `log_file`."""
    if "Failed to acquire lock on file" in text:
        return _in_use(folder)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return disk_full(folder)
    if (
        "AccessDeniedException" in text
        or "(Permission denied)" in text
        or "Read-only file system" in text
    ):
        return DiskError(
            f"The broker cannot write to {folder}", "Give this user the right to write there"
        )
    if "Address already in use" in text:
        return PortTakenError(
            "The broker's port is taken", "Start again, or choose another port with --port"
        )
    return BrokerDiedError(
        f"The broker ended while starting: {_last_errors(text)}", f"See {log_file}"
    )


def _in_use(folder: Path) -> DataDirInUseError:
    other = _process_on(folder)
    who = f" (process {other})" if other else ""
    remedy = (
        f"Stop process {other}, or choose another folder"
        if other
        else "Stop it, or choose another folder"
    )
    return DataDirInUseError(f"Another broker{who} works on {folder}", remedy)


def _process_on(folder: Path) -> int | None:
    marker = str(folder / "server.properties")
    for process in psutil.process_iter(["cmdline"]):
        if "kafka.Kafka" in (process.info["cmdline"] or ()) and marker in process.info["cmdline"]:
            return process.pid
    return None


def _last_errors(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    return " | ".join(dict.fromkeys(telling[-_LINES:])).rstrip(".") or "it wrote nothing"
