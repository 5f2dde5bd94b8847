"""What is known of a broker from one command to the next: a small JSON file in its data folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from stream_app.broker.process import is_alive

_CLOCK_TOLERANCE = 5.0  # seconds by which a corrected clock may move a process's creation time


@dataclass(frozen=True, slots=True)
class BrokerState:
    """The last start. `created`: when the system says process `pid` was created, in seconds since the epoch."""

    pid: int
    created: float
    port: int
    controller_port: int
    version: str

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read the state; None if there is none, or none that can be understood."""
        try:
            return cls(**json.loads(file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, file: Path) -> None:
        """Replace the state, all or nothing."""
        new = file.with_name(file.name + ".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(file)

    def process(self, argument: str) -> psutil.Process | None:
        """The broker's process if it lives: same id, same creation time, and `argument` on its command line."""
        try:
            process = psutil.Process(self.pid)
            same = (
                abs(process.create_time() - self.created) < _CLOCK_TOLERANCE
                and argument in process.cmdline()
            )
        except psutil.Error:
            return None
        return process if same and is_alive(process) else None
