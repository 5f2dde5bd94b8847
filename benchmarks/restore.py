"""CPU time to restore the state of a million events: this build and an earlier one in turn.

A share of the events have their label. The changelog is the one that a scorer writes, after
compaction. Each build has a process of its own, which writes the changelog once and restores it
when asked.
"""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.contenders import BEFORE, HERE, RunConfig, Setup
from benchmarks.figures import Figures, ratios, spread
from benchmarks.observe import BenchmarkError
from benchmarks.report import Report, Table

EVENTS = 1_000_000
SHARES = (20, 80)
"""Per cent of the events that have their label."""


def measure(setup: Setup) -> Iterator[Report]:
    """Restores each changelog once in each round; yields the results so far after each share."""
    found: dict[int, Figures] = {}
    for share in SHARES:
        seconds: Figures = {name: [] for name in setup.ours}
        children = {
            name: RestoringProcess(setup.config("restore", name), share) for name in setup.ours
        }
        try:
            for number in range(setup.rounds):
                for name, child in children.items():
                    seconds[name].append(child.restore())
                    setup.progress(
                        f"round {number + 1} of {setup.rounds}: {name}: {share} % joined: "
                        f"{seconds[name][-1]:.2f} s"
                    )
        finally:
            for child in children.values():
                child.close()
        found[share] = seconds
        yield summary(found)


class RestoringProcess:
    """Process with the package of a tree, which restores a state when it is told to."""

    def __init__(self, config: RunConfig, share: int) -> None:
        script = HERE / "benchmarks" / "restore_process.py"
        # The folder of the script must not be searched for modules.
        self._process = subprocess.Popen(
            [config.python, "-P", "-W", "ignore", str(script), str(EVENTS), str(share)],
            env=config.environment,
            cwd=config.tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
        )

    def restore(self) -> float:
        """Returns the CPU seconds of restoring the state once."""
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchmarkError("the process has no pipes")
        self._process.stdin.write("restore\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchmarkError(f"restore: the process exited with code {self._process.wait()}")
        return float(answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def figure(share: int) -> str:
    """Returns the name of the figure of a share."""
    return f"restore of a million events, {share} % joined"


def summary(found: dict[int, Figures]) -> Report:
    """Returns table and figures of the results."""
    figures: Figures = {}
    rows = []
    for share, seconds in found.items():
        figures |= {
            figure(share) if name == "ours" else f"{figure(share)}, {name}": values
            for name, values in seconds.items()
        }
        if BEFORE in seconds:
            times = ratios(seconds["ours"], seconds[BEFORE])
            figures[f"{figure(share)}, ours / {BEFORE}"] = times
        cells = (f"{spread(values).text(2)} s" for values in seconds.values())
        rows.append((f"{share} % joined", *cells))
    names = next(iter(found.values()), {})
    return Report([Table("Restore of a million events", ("CPU", *names), rows)], figures)
