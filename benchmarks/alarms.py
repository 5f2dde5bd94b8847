"""False alarms and finds of the alarms about labels: `python -m benchmarks.alarms --help`.

`simulated` counts false alarms in a hundred years of labels that are drawn from their served
probabilities. `flights` scores and learns a year of flights, and poisons it 47 times. Both need
minutes; they print tables in Markdown.
"""

import argparse
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import quantiles
from typing import NamedTuple

from benchmarks.poisoned_flights import (
    FIRST,
    FOUND_WITHIN_MS,
    POISONINGS,
    Change,
    ScoredYear,
    flipped,
    read_year,
    score_year,
    set_to,
    start_of,
)
from benchmarks.simulated_labels import HORIZON_MS, START, served_labels
from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS, PlainState
from stream_app.core.alarms.flip_detector import FlipDetector
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.alarms.positive_share import PositiveShareDetector

# Written down before the first run: ten streams of ten years each.
SEEDS = range(2600, 2610)
YEARS = 10
LABELS_A_DAY = 900
# False alarms per year that are asked for.
RATES = (1.0, 0.1)
# Days after the first event from which on alarms of the flights count.
POISONINGS_OF: dict[str, Change] = {
    "20 % flipped": flipped(0.2),
    "10 % flipped": flipped(0.1),
    "20 % set to negative": set_to(False, 0.2),
    "all set to negative": set_to(False, 1.0),
}


def simulated(workers: int) -> None:
    """Prints the number of false alarms in a hundred years."""
    print("| labels | detector | asked for 1 a year | asked for .1 a year |\n|---|---|--:|--:|")
    for name, shock in (("independent", 0.0), ("a shift of 1 logit per hour", 1.0)):
        with ProcessPoolExecutor(workers) as pool:
            found = list(pool.map(count_false, SEEDS, [shock] * len(SEEDS)))
        for number, kind in enumerate(("flips", "share of positives")):
            counts = [sum(one[number][rate] for one in found) for rate in range(len(RATES))]
            print(f"| {name} | {kind} | {counts[0]} | {counts[1]} |", flush=True)


def count_false(seed: int, shock: float) -> tuple[list[int], list[int]]:
    """Returns the number of alarms of ten years, for each rate: of flips and of the share."""
    flips = [new_flips(rate, START) for rate in RATES]
    shares = [PositiveShareDetector(365 / rate) for rate in RATES]
    counts = [0] * len(RATES), [0] * len(RATES)
    for label in served_labels(365 * YEARS, LABELS_A_DAY, seed, shock):
        for number in range(len(RATES)):
            counts[0][number] += check(flips[number], label) is not None
            counts[1][number] += check(shares[number], label) is not None
    return counts


def new_flips(rate: float, first_event: int) -> FlipDetector:
    """Returns a detector of flips with a number of false alarms per year."""
    detector = FlipDetector(8760 / rate, HORIZON_MS)
    detector.start(first_event)
    return detector


def check(detector: FlipDetector | PositiveShareDetector, label: ServedLabel) -> int | None:
    """Passes a label on; returns the time since which there is evidence if that is an alarm."""
    time, event, _, _, value, score = label
    if isinstance(detector, FlipDetector):
        found = detector.check(time, event, value, score)
    else:
        assert isinstance(value, bool)
        assert isinstance(score, float)
        found = detector.add(time, value, score)
    return None if found is None else found.since


class PoisoningFinds(NamedTuple):
    """Finds of one detector among the poisonings.

    Attributes:
        hours: hours from the beginning of a poisoning to its first alarm.
        datings: hours by which its `since` is later than the beginning.
    """

    hours: list[float]
    datings: list[float]


def nightly(labels: Iterable[ServedLabel]) -> list[ServedLabel]:
    """Returns labels that come in one batch per night."""
    return sorted(
        label._replace(label_time=(label.label_time // DAY_MS + 1) * DAY_MS) for label in labels
    )


def flights() -> None:
    """Prints false alarms of the clean year, and what was found of each poisoning."""
    year = score_year(read_year())
    rows = {name: poisonings(year, change) for name, change in POISONINGS_OF.items()}
    print("| labels | detector | asked for | false | found | median | 90 % | dated, 10 … 90 % |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    first = year.clean[0].event_time
    for rate in RATES:
        for name, labels in rows.items():
            print_row(year.clean, labels, name, "flips", rate, partial(new_flips, rate, first))
        batches = [nightly(one) for one in rows["20 % flipped"]]
        print_row(
            nightly(year.clean), batches, "20 % flipped, in nightly batches", "flips", rate,
            partial(new_flips, rate, first),
        )  # fmt: skip
        for name, labels in rows.items():
            print_row(
                year.clean, labels, name, "share", rate,
                partial(PositiveShareDetector, 365 / rate),
            )  # fmt: skip


def poisonings(year: ScoredYear, change: Change) -> list[list[ServedLabel]]:
    """Returns the labels of the seven days from the beginning of each poisoning on."""
    return [
        list(moment.copied().until(start_of(number) + FOUND_WITHIN_MS, change, seed=number))
        for number, moment in enumerate(year.moments)
    ]


Detector = FlipDetector | PositiveShareDetector


def print_row(
    clean: list[ServedLabel],
    poisoned: list[list[ServedLabel]],
    name: str,
    kind: str,
    rate: float,
    make: Callable[[], Detector],
) -> None:
    """Prints false alarms and finds of one detector."""
    false, states = clean_year(clean, make)
    found = finds(poisoned, states, make)
    delays = spread(found.hours)
    dated = spread(found.datings)
    print(
        f"| {name} | {kind} | {rate:g} a year | {false} | {len(found.hours)} of {len(poisoned)} "
        f"| {delays[1]:.0f} h | {delays[2]:.0f} h | {dated[0]:+.0f} … {dated[2]:+.0f} h |",
        flush=True,
    )


def clean_year(
    labels: list[ServedLabel], make: Callable[[], Detector]
) -> tuple[int, list[PlainState]]:
    """Returns the false alarms since January 22nd, and the state at each poisoning."""
    detector, false = make(), 0
    states: list[PlainState] = []
    for label in labels:
        while len(states) < POISONINGS and label.label_time >= start_of(len(states)):
            states.append(detector.state())
        if check(detector, label) is not None and label.label_time >= FIRST.timestamp() * 1000:
            false += 1
    return false, states


def finds(
    poisoned: list[list[ServedLabel]], states: list[PlainState], make: Callable[[], Detector]
) -> PoisoningFinds:
    """Returns what a detector finds that continues from the state of the clean year."""
    found = PoisoningFinds([], [])
    for number, labels in enumerate(poisoned):
        detector = make()
        detector.restore(states[number])
        for label in labels:
            since = check(detector, label)
            if since is not None:
                found.hours.append((label.label_time - start_of(number)) / HOUR_MS)
                found.datings.append((since - start_of(number)) / HOUR_MS)
                break
    return found


def spread(values: list[float]) -> tuple[float, float, float]:
    """Returns the 10 %, 50 % and 90 % quantiles, NaN of fewer than two values."""
    if len(values) < 2:
        return (float("nan"),) * 3
    cuts = quantiles(values, n=10, method="inclusive")
    return cuts[0], cuts[4], cuts[8]


def main() -> None:
    """Prints one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=("simulated", "flights"))
    parser.add_argument("--workers", type=int, default=1, help="processes of `simulated`")
    options = parser.parse_args()
    if options.table == "simulated":
        simulated(options.workers)
    else:
        flights()


if __name__ == "__main__":
    main()
