"""The whole suite: `make bench`, with `ARGS=--help` for more. Markdown or JSON on stdout, progress on stderr."""

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
from benchmarks.report import Part, as_json, markdown
from stream_app.settings import LogSettings
from stream_app.telemetry.logs import setup_logging

Measure = Callable[[str, Path, argparse.Namespace], Iterator[Part]]


def main() -> None:
    """Run the parts that were asked for; one that fails costs only itself, and Ctrl-C prints what there is."""
    options = parse()
    signal.signal(signal.SIGTERM, _interrupt)
    setup_logging(LogSettings(level="error"))
    found: dict[str, Part] = {}
    code = 0
    try:
        with running_broker() as (servers, folder):
            for name in options.parts:
                say(f"{name} ...")
                try:
                    for part in PARTS[name](servers, folder, options):
                        found[name] = part
                except FAILURES as error:
                    say(f"{name} ended early: {error or type(error).__name__}")
                    code = 1
    except KeyboardInterrupt:
        say("stopped")
        code = 130
    finally:
        if found:
            parts = list(found.values())
            print(json.dumps(as_json(parts), indent=1) if options.json else markdown(parts))
    sys.exit(code)


def _throughput(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Part]:
    cases = [case for case in throughput.CASES if case.contender in options.only]
    return throughput.measure(servers, folder, options.records, cases, options.rounds, say)


def _latency(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Part]:
    cases = [
        case
        for case in latency.CASES
        if case.contender in options.only and case.rate in options.rate
    ]
    return latency.measure(servers, folder, flights(options.records), cases, options.seconds, say)


def _learner(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Part]:
    return learner.measure(servers, folder, options.records // 3, options.rounds, say)


def _recovery(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Part]:
    return recovery.measure(servers, folder, flights(options.records), options.rounds, say)


def _profile(servers: str, folder: Path, options: argparse.Namespace) -> Iterator[Part]:
    return profile.measure(servers, folder, flights(options.records), say)


PARTS: dict[str, Measure] = {
    "throughput": _throughput,
    "latency": _latency,
    "learner": _learner,
    "recovery": _recovery,
    "profile": _profile,
}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all unless given"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of everything that is compared")
    parser.add_argument(
        "--records", type=int, default=200_000, help="flights that a fast contender gets"
    )
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=CONTENDERS, help="contenders"
    )
    parser.add_argument(
        "--rate", type=int, nargs="+", default=latency.RATES, help="events per second of latency"
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="that each case of latency is watched"
    )
    parser.add_argument(
        "--json", action="store_true", help="print every figure of every round as JSON"
    )
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name}: choose from {', '.join(PARTS)}")
    options.parts = options.parts or list(PARTS)
    return options


def say(text: str) -> None:
    """Progress, with the time."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
