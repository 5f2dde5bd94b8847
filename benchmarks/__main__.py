"""Runs the benchmarks: `make bench`, with `ARGS=--help` for the options.

Prints Markdown or JSON to stdout and progress to stderr.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from benchmarks import latency, learner, profile, recovery, throughput
from benchmarks.cluster import flights, running_broker
from benchmarks.contenders import CONTENDERS
from benchmarks.observe import FAILURES
from benchmarks.report import Report, as_json, markdown
from stream_app.settings import LogSettings
from stream_app.telemetry.logs import setup_logging

Measure = Callable[[str, Path, argparse.Namespace], Iterator[Report]]


def main() -> None:
    """Runs the selected benchmarks and prints their results, also after a failure or Ctrl-C."""
    options = parse()
    signal.signal(signal.SIGTERM, _interrupt)
    setup_logging(LogSettings(level="error"))
    found: dict[str, Report] = {}
    code = 0
    try:
        with running_broker() as (servers, folder):
            for name in options.benchmarks:
                progress(f"{name} ...")
                try:
                    for part in BENCHMARKS[name](servers, folder, options):
                        found[name] = part
                except FAILURES as error:
                    progress(f"{name} stopped early: {error or type(error).__name__}")
                    code = 1
    except KeyboardInterrupt:
        progress("stopped")
        code = 130
    finally:
        if found:
            parts = list(found.values())
            print(json.dumps(as_json(parts), indent=1) if options.json else markdown(parts))
    sys.exit(code)


def _throughput(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Report]:
    cases = [case for case in throughput.CASES if case.contender in options.only]
    return throughput.measure(servers, folder, options.records, cases, options.rounds, progress)


def _latency(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Report]:
    cases = [
        case
        for case in latency.CASES
        if case.contender in options.only and case.rate in options.rate
    ]
    return latency.measure(
        servers, folder, flights(options.records), cases, options.seconds, progress
    )


def _learner(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Report]:
    return learner.measure(servers, folder, options.records // 3, options.rounds, progress)


def _recovery(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Report]:
    return recovery.measure(servers, folder, flights(options.records), options.rounds, progress)


def _profile(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Report]:
    return profile.measure(servers, folder, flights(options.records), progress)


BENCHMARKS: dict[str, Measure] = {
    "throughput": _throughput,
    "latency": _latency,
    "learner": _learner,
    "recovery": _recovery,
    "profile": _profile,
}


def parse() -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument(
        "benchmarks",
        nargs="*",
        metavar="BENCHMARK",
        help=f"any of {', '.join(BENCHMARKS)}; default: all",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison")
    parser.add_argument(
        "--records", type=int, default=200_000, help="number of flights; slow contenders get fewer"
    )
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=CONTENDERS, help="contenders to run"
    )
    parser.add_argument(
        "--rate",
        type=int,
        nargs="+",
        default=latency.RATES,
        help="events per second of the latency cases",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each latency case")
    parser.add_argument(
        "--json", action="store_true", help="print the figures of every round as JSON"
    )
    options = parser.parse_args()
    for name in options.benchmarks:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name}: choose from {', '.join(BENCHMARKS)}")
    options.benchmarks = options.benchmarks or list(BENCHMARKS)
    return options


def progress(text: str) -> None:
    """Prints a progress line with the time."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
