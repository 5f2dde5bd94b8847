"""CPU time and artifact size of each model: `python -m benchmarks.families`.

Prints the table of docs/families.md; `--write` updates the page. Times are CPU microseconds per
event: medians over the second half of 1,000 examples. The size is that of the trained artifact.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import NamedTuple

from benchmarks.catalogue import CATALOGUE, CLASSES_ONLY, predict, rows
from stream_app.model_store.pickling import dump, family_of

PAGE = Path(__file__).parent.parent / "docs" / "families.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"
HEAD = (
    "| model | family | data | predict, µs | learn, µs | artifact, kB |\n"
    "|---|---|---|---:|---:|---:|\n"
)


class Cost(NamedTuple):
    """Measured cost of a model: CPU microseconds per event, and bytes of its artifact."""

    name: str
    family: str
    task: str
    predict: float
    learn: float
    size: int

    def line(self) -> str:
        """Returns the row of the table."""
        name = f"{self.name}\\*" if self.name in CLASSES_ONLY else self.name
        times = f"{self.predict:,.0f} | {self.learn:,.0f}"
        return f"| {name} | {self.family} | {self.task} | {times} | {self.size / 1000:,.1f} |\n"


def measure(task: str, name: str) -> Cost:
    """Returns the cost of predicting and learning 1,000 examples."""
    model = CATALOGUE[task][name]()
    family, predict_ns, learn_ns = family_of(model), [], []
    for x, y in rows(task):
        started = thread_time_ns()
        predict(name, model, x)
        predicted = thread_time_ns()
        model.learn_one(x, y)
        predict_ns.append(predicted - started)
        learn_ns.append(thread_time_ns() - predicted)
    half = len(predict_ns) // 2
    return Cost(
        name,
        family,
        task,
        median(predict_ns[half:]) / 1000,
        median(learn_ns[half:]) / 1000,
        len(dump(model)),
    )


def table() -> str:
    """Returns the table of all models of the catalogue."""
    found = []
    for task, models in CATALOGUE.items():
        for name in models:
            sys.stderr.write(f"{name} ...\n")
            found.append(measure(task, name))
    return HEAD + "".join(
        cost.line() for cost in sorted(found, key=lambda cost: (cost.family, cost.task, cost.name))
    )


def main() -> None:
    """Prints the table or writes it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/families.md"
    )
    options = parser.parse_args()
    measured = table()
    if not options.write:
        sys.stdout.write(measured)
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + measured + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
