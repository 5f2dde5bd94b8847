"""Logs on standard error, checked in a child process because logging is set up per process."""

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging, sys
from stream_app.telemetry.logs import get_logger, setup_logging
from stream_app.settings import LogSettings
setup_logging(LogSettings(level="{level}", format="{format}"), role="score")
log = get_logger("stream_app.test")
log.debug("looking")
log.info("committed", offset=3)
logging.getLogger("faust").info("chatter")
logging.getLogger("faust").warning("rebalanced %s", "twice")
try:
    raise ValueError("broken")
except ValueError:
    log.exception("failed")
"""


def run(level: str = "info", format: str = "auto") -> list[str]:
    program = PROGRAM.format(level=level, format=format)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_logs_are_json_lines_without_a_terminal() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in run()]
    assert [line["event"] for line in lines] == ["committed", "rebalanced twice", "failed"]
    committed, foreign, failed = lines
    assert (committed["offset"], committed["role"], committed["level"]) == (3, "score", "info")
    assert committed["timestamp"].endswith("Z")
    assert (foreign["logger"], foreign["role"], foreign["level"]) == ("faust", "score", "warning")
    assert "ValueError: broken" in failed["exception"]


def test_debug_level_applies_to_this_package_only() -> None:
    events = [json.loads(line)["event"] for line in run(level="debug")]
    assert "looking" in events
    assert "chatter" not in events


def test_console_format_is_plain_text() -> None:
    lines = run(format="console")
    assert "committed" in lines[0]
    assert "offset=3" in lines[0]
    assert not lines[0].startswith("{")
