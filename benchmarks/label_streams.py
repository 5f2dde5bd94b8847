"""Alarms about labels on further streams: `python -m benchmarks.label_streams`.

Parts of the flights, promotions of another model, labels of which some are only assumed, and two
generators with rhythms and shared shocks. It prints tables in Markdown, and needs ten minutes.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from math import exp, pi, sin
from typing import Any

from benchmarks.alarms import clean_year, finds, new_flips, poisonings, spread
from benchmarks.monitored_flights import MonitoredFlights, pipeline
from benchmarks.poisoned_flights import (
    DAY_MS,
    FIRST,
    HOUR_MS,
    POISONINGS,
    ScoredFlight,
    ScoredYear,
    ServedFlights,
    TimedFlight,
    flipped,
    read_year,
    score_year,
    start_of,
)
from stream_app.core.alarms.label_detector import LabelDetector
from stream_app.core.alarms.label_feed import ServedLabel

# Written down before the first run.
SEEDS = (3100, 3101, 3102, 3103, 3104)
PROMOTIONS = 10
RATES = (1.0, 0.1)
CARRIERS = ("UA", "B6", "EV", "DL", "AA")
CLAIMS_AN_HOUR = 38
START = 1_704_067_200_000
# Rate of the budget's default for label flips and the share of positives together.
DEFAULT_RATE = 0.1


def parts() -> None:
    """Prints what is found of poisonings in the flights of an airport, or of a carrier."""
    flights = read_year()
    print("| flights of | labels a day | asked for | false | found | median |")
    print("|---|--:|--:|--:|--:|--:|")
    for field, names in (("origin", ("EWR", "JFK", "LGA")), ("carrier", CARRIERS)):
        for name in names:
            own = [one for one in flights if one.features[field] == name]
            print_finds(name, score_year(own), len(own) / 365)


def print_finds(name: str, year: ScoredYear, per_day: float) -> None:
    """Prints false alarms and finds at both rates."""
    poisoned = poisonings(year, flipped(0.2))
    first = year.clean[0].event_time
    for rate in RATES:
        false, states = clean_year(year.clean, lambda rate=rate: new_flips(rate, first))  # type: ignore[misc]
        found = finds(poisoned, states, lambda rate=rate: new_flips(rate, first))  # type: ignore[misc]
        count, median = f"{len(found.hours)} of {POISONINGS}", spread(found.hours)[1]
        print(
            f"| {name} | {per_day:.0f} | {rate:g} | {false} | {count} | {median:.0f} h |",
            flush=True,
        )


def promotions() -> None:
    """Prints the alarms of the whole monitor in years in which a model is promoted ten times.

    Each promoted model has learned a random half of the labels so far, and then learns all of them.
    """
    print()
    for seed in SEEDS:
        chance = random.Random(seed)
        flights = FlightsOfCandidates(read_year(unlabelled=True), chance)
        monitored = MonitoredFlights(flights, pipeline())
        promoted, found = 0, Counter[str]()
        for day in [*sorted(chance.sample(range(40, 350), PROMOTIONS)), 400]:
            for alarm in monitored.until(START_OF_YEAR + day * DAY_MS):
                days = (alarm.opened_at - START_OF_YEAR) // DAY_MS
                found[f"{alarm.name} on day {days}, {days - promoted} days after one"] += 1
            flights.promote()
            monitored.change_version()
            promoted = day
        print(f"{PROMOTIONS} promotions: {', '.join(found) or 'no alarm'}", flush=True)


class FlightsOfCandidates(ServedFlights):
    """Flights with two more models, each of which learns a random half of the labels.

    Args:
        flights: flights by event time.
        chance: source of the halves.
    """

    def __init__(self, flights: list[TimedFlight], chance: random.Random) -> None:
        super().__init__(flights)
        self._candidates = [deepcopy(self._model), deepcopy(self._model)]
        self._chance = chance

    def moments(self, *arguments: Any, **sent: Any) -> Iterator[ServedLabel | ScoredFlight]:
        for moment in super().moments(*arguments, **sent):
            if isinstance(moment, ServedLabel):
                features = self._flights[moment.offset].features
                self._chance.choice(self._candidates).learn_one(features, moment.label)
            yield moment

    def promote(self) -> None:
        """Serve the candidate that was not promoted last."""
        self._candidates.reverse()
        self._model = deepcopy(self._candidates[0])


START_OF_YEAR = int(FIRST.timestamp() * 1000) - 21 * DAY_MS


def assumed() -> None:
    """Prints false alarms and finds if labels of flights on time come rarely, else are assumed."""
    year = score_year(read_year())
    print(
        "\n| negatives that come | horizon | false | found | bets on flips |\n|--:|--:|--:|--:|---|"
    )
    for share in (0.0, 0.1, 0.5):
        for days in (14, 30):
            chance = random.Random(SEEDS[1])
            explicit = [one for one in year.clean if one.label or chance.random() < share]
            detector, false = assuming(days, year.clean), 0
            states: list[Any] = []
            for label in explicit:
                while len(states) < POISONINGS and label.label_time >= start_of(len(states)):
                    states.append(detector.state())
                detector.add(label, False)
                counts = label.label_time >= FIRST.timestamp() * 1000
                false += len(detector.release(label.label_time)) * counts
            found = 0
            for number, labels in enumerate(poisonings(year, flipped(0.2))):
                poisoned = assuming(days, year.clean)
                poisoned.restore(states[number])
                for label in labels:
                    if label.label or chance.random() < share:
                        poisoned.add(label, False)
                        if poisoned.release(label.label_time):
                            found += 1
                            break
            bets = "off" if detector.off else "on"
            print(
                f"| {share:.0%} | {days} days | {false} | {found} of {POISONINGS} | {bets} |",
                flush=True,
            )


def assuming(days: int, labels: list[ServedLabel], rate: float = DEFAULT_RATE) -> LabelDetector:
    """Returns a detector of labels that are assumed to be negative after some days."""
    detector = LabelDetector("binary", rate, days * DAY_MS, absent=False)
    detector.start(labels[0].event_time)
    return detector


def claims(days: int, seed: int, share: float) -> Iterator[ServedLabel]:
    """Yields labels of claims: positives known after two days, a share of negatives after five."""
    rng = random.Random(seed)
    waiting: list[ServedLabel] = []
    for hour in range(24 * days):
        beginning = START + hour * HOUR_MS
        for _ in range(CLAIMS_AN_HOUR):
            label = drawn(rng, beginning, rng.gauss(-1.0, 1.0), 0.0, 48 * HOUR_MS)
            if label.label:
                waiting.append(label)
            elif rng.random() < share:
                delay = int(min(rng.expovariate(1 / (5 * DAY_MS)), 14 * DAY_MS))
                waiting.append(label._replace(label_time=label.event_time + delay))
        yield from due(waiting, beginning + HOUR_MS)


def unequal_delays() -> None:
    """Prints false alarms of five years if negatives come later than positives, or are assumed."""
    print("\n| negatives that come | horizon | at one a year | at the default | bets on flips |")
    print("|--:|--:|--:|--:|---|")
    for share in (0.0, 0.1, 0.5):
        for days in (14, 30):
            counts, bets = [0, 0], "off"
            for seed in SEEDS:
                labels = list(claims(365, seed, share))
                # The rate is split evenly over flips and the share of positives.
                for number, rate in enumerate((2.0, DEFAULT_RATE)):
                    detector = assuming(days, labels, rate)
                    for label in labels:
                        detector.add(label, False)
                        counts[number] += len(detector.release(label.label_time))
                    bets = "off" if detector.off else "on"
            print(
                f"| {share:.0%} | {days} days | {counts[0]} in 5 years | {counts[1]} in 5 years "
                f"| {bets} |",
                flush=True,
            )


def shops(days: int, seed: int) -> Iterator[ServedLabel]:
    """Yields labels of a shop: a daily rhythm of orders and their risk, and hourly shocks."""
    rng = random.Random(seed)
    waiting: list[ServedLabel] = []
    for hour in range(24 * days):
        angle = 2 * pi * (hour % 24) / 24
        shock = rng.gauss(0.0, 0.5)
        beginning = START + hour * HOUR_MS
        for _ in range(round(50 * (1 + 0.8 * sin(angle)))):
            served = rng.gauss(-1.5, 1.0) + 0.4 * sin(angle + 1)
            waiting.append(drawn(rng, beginning, served, shock, 6 * HOUR_MS))
        yield from due(waiting, beginning + HOUR_MS)


def loans(days: int, seed: int) -> Iterator[ServedLabel]:
    """Yields labels of a lender: closed at weekends, shocks of a day, and labels after days."""
    rng = random.Random(seed)
    waiting: list[ServedLabel] = []
    shock = 0.0
    for hour in range(24 * days):
        if hour % 24 == 0:
            shock = 0.7 * shock + rng.gauss(0.0, 0.5)
        beginning = START + hour * HOUR_MS
        is_open = hour // 24 % 7 < 5 and 8 <= hour % 24 < 18
        waiting += [
            drawn(rng, beginning, rng.gauss(-2.0, 1.2), shock, 30 * HOUR_MS)
            for _ in range(120 if is_open else 2)
        ]
        yield from due(waiting, beginning + HOUR_MS)


def drawn(
    rng: random.Random, beginning: int, served: float, shock: float, delay: float
) -> ServedLabel:
    """Returns a label that is drawn from its served logit and the shock that others share."""
    event_time = beginning + rng.randrange(HOUR_MS)
    label = rng.random() < 1.0 / (1.0 + exp(-served - shock))
    known = event_time + int(min(rng.expovariate(1.0 / delay), 9 * delay))
    return ServedLabel(known, event_time, 0, 0, label, 1.0 / (1.0 + exp(-served)))


def due(waiting: list[ServedLabel], until: int) -> Iterator[ServedLabel]:
    """Yields the labels that are known by a time, and removes them."""
    waiting.sort(reverse=True)
    while waiting and waiting[-1].label_time < until:
        yield waiting.pop()


def generated() -> None:
    """Prints false alarms of ten years, and finds of fifty poisonings, of each generator."""
    print("\n| labels | asked for | false in 10 years | found | median |\n|---|--:|--:|--:|--:|")
    for name, generator in (("a shop", shops), ("a lender", loans)):
        streams = [list(generator(730, seed)) for seed in SEEDS]
        for rate in RATES:
            false, hours = 0, list[float]()
            for seed, labels in zip(SEEDS, streams, strict=True):
                count, found = of_stream(labels, rate, seed)
                false, hours = false + count, hours + found
            finds_ = f"{len(hours)} of {10 * len(SEEDS)}"
            print(
                f"| {name} | {rate:g} | {false} | {finds_} | {spread(hours)[1]:.0f} h |", flush=True
            )


def of_stream(labels: list[ServedLabel], rate: float, seed: int) -> tuple[int, list[float]]:
    """Returns the false alarms of two years, and the hours after which poisonings are found."""
    chance = random.Random(seed)
    starts = [START + day * DAY_MS for day in sorted(chance.sample(range(60, 700), 10))]
    detector, false = new_flips(rate, START), 0
    kept: list[tuple[int, int, Any]] = []
    for position, (time, event, _, _, label, score) in enumerate(labels):
        while len(kept) < len(starts) and time >= starts[len(kept)]:
            kept.append((position, starts[len(kept)], deepcopy(detector.state())))
        false += detector.check(time, event, label, score) is not None
    hours = []
    for position, start, state in kept:
        poisoned = new_flips(rate, START)
        poisoned.restore(state)
        found = first_alarm(poisoned, labels[position:], start, chance)
        if found is not None:
            hours.append((found - start) / HOUR_MS)
    return false, hours


def first_alarm(
    detector: Any, labels: Iterable[ServedLabel], start: int, chance: random.Random
) -> int | None:
    """Returns the time of the first alarm within a week of three days with a fifth flipped."""
    for time, event, _, _, label, score in labels:
        if time >= start + 7 * DAY_MS:
            return None
        is_flipped = time < start + 3 * DAY_MS and chance.random() < 0.2
        if detector.check(time, event, label ^ is_flipped, score) is not None:
            return time
    return None


def main() -> None:
    """Prints all tables."""
    promotions()
    generated()
    assumed()
    unequal_delays()
    parts()


if __name__ == "__main__":
    main()
