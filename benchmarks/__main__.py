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

from benchmarks import (
    ingest,
    latency,
    latency_report,
    learner,
    profile,
    recovery,
    restore,
    startup,
    throughput,
    throughput_report,
)
from benchmarks.cluster import flights, running_broker
from benchmarks.contenders import BEFORE, CONTENDERS, HERE, Setup
from benchmarks.history import read_history, record
from benchmarks.observe import FAILURES
from benchmarks.report import Report, all_figures, as_json, core, markdown, replace_figures
from stream_app.settings import LogSettings
from stream_app.telemetry.logs import setup_logging

PAGE = HERE / "docs" / "performance.md"

Measure = Callable[[Setup, argparse.Namespace], Iterator[Report]]


def main() -> None:
    """Runs the selected benchmarks and prints their results, also after a failure or Ctrl-C."""
    options = parse()
    signal.signal(signal.SIGTERM, _interrupt)
    setup_logging(LogSettings(level="error"))
    found: dict[str, Report] = {}
    code = 0
    try:
        with running_broker() as (servers, folder):
            setup = Setup(servers, folder, options.rounds, progress, options.before)
            for name in options.benchmarks:
                progress(f"{name} ...")
                try:
                    for part in BENCHMARKS[name](setup, options):
                        found[name] = part
                except FAILURES as error:
                    progress(f"{name} stopped early: {error or type(error).__name__}")
                    code = 1
    except KeyboardInterrupt:
        progress("stopped")
        code = 130
    finally:
        if found:
            _print(list(found.values()), options)
    sys.exit(code)


def _print(parts: list[Report], options: argparse.Namespace) -> None:
    """Prints the results, and appends their ratios to the history if that was asked for."""
    history = read_history()
    print(json.dumps(as_json(parts), indent=1) if options.json else markdown(parts, history))
    if options.page:
        page = PAGE.read_text()
        PAGE.write_text(replace_figures(page, markdown(parts, history)))
    if options.record:
        progress(f"recorded {record(all_figures(parts), core())} ratios")


def _throughput(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    cases = [case for case in throughput_report.CASES if case.contender in _contenders(options)]
    return throughput.measure(setup, options.records, cases)


def _workloads(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    cases = throughput_report.OTHER_WORK
    summarise = throughput_report.workload_summary
    return throughput.measure(setup, options.records // 2, cases, summarise)


def _latency(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    cases = [
        case
        for case in latency_report.CASES
        if case.contender in _contenders(options) and case.rate in options.rate
    ]
    return latency.measure(setup, flights(options.records), cases, options.seconds)


def _learner(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    return learner.measure(setup, options.records // 3)


def _ingest(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    return ingest.measure(setup, options.records)


def _startup(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    return startup.measure(setup)


def _recovery(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    return recovery.measure(setup, flights(options.records))


def _restore(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    return restore.measure(setup)


def _profile(setup: Setup, options: argparse.Namespace) -> Iterator[Report]:
    return profile.measure(setup, flights(options.records))


def _contenders(options: argparse.Namespace) -> list[str]:
    """Returns the selected contenders; `before` needs its checkout."""
    return [name for name in options.only if name != BEFORE or options.before]


BENCHMARKS: dict[str, Measure] = {
    "throughput": _throughput,
    "workloads": _workloads,
    "latency": _latency,
    "learner": _learner,
    "ingest": _ingest,
    "startup": _startup,
    "recovery": _recovery,
    "restore": _restore,
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
        default=latency_report.RATES,
        help="events per second of the latency cases",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each latency case")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="PATH",
        help="checkout of an earlier commit, with its dependencies in .venv: a contender as well",
    )
    parser.add_argument(
        "--record", action="store_true", help="append the ratios to benchmarks/history.csv"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the figures of every round as JSON"
    )
    parser.add_argument(
        "--page", action="store_true", help="replace the figures of docs/performance.md as well"
    )
    options = parser.parse_args()
    for name in options.benchmarks:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name}: choose from {', '.join(BENCHMARKS)}")
    if options.before:
        options.before = options.before.resolve()
        if not (options.before / ".venv" / "bin" / "python").exists():
            parser.error(f"no Python in {options.before}/.venv: run `make setup` there")
    options.benchmarks = options.benchmarks or list(BENCHMARKS)
    return options


def progress(text: str) -> None:
    """Prints a progress line with the time."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
