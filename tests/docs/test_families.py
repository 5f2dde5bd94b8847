"""The page of models covers every model of the catalogue, with true families and sizes."""

import re
from typing import NamedTuple

import pytest

from benchmarks.catalogue import CATALOGUE, rows
from benchmarks.families import PAGE
from stream_app.model_store.pickling import dump, family_of
from stream_app.model_store.river_names import REJECTED

TEXT = PAGE.read_text(encoding="utf-8")


class Row(NamedTuple):
    """Row of the table of measurements; the size is in kB."""

    family: str
    task: str
    size: float


def measured() -> dict[str, Row]:
    """Returns the rows by the model's name."""
    pattern = r"^\| (\w+)(?:\\\*)? \| ([\w+-]+) \| ([\w-]+) \| [\d,]+ \| [\d,]+ \| ([\d,.]+) \|$"
    found = re.findall(pattern, TEXT, re.MULTILINE)
    return {
        name: Row(family, task, float(size.replace(",", ""))) for name, family, task, size in found
    }


MEASURED = measured()


def test_the_table_has_every_model_with_its_family() -> None:
    declared = {
        name: (family_of(make()), task)
        for task, models in CATALOGUE.items()
        for name, make in models.items()
    }
    assert {name: row[:2] for name, row in MEASURED.items()} == declared


def test_every_rejected_model_is_named() -> None:
    rejected = TEXT.partition("## Rejected models")[2]
    assert [name for _, name in REJECTED if f"`{name}`" not in rejected] == []


@pytest.mark.faults
@pytest.mark.parametrize("name", MEASURED)
def test_artifacts_have_the_size_in_the_table(name: str) -> None:
    row = MEASURED[name]
    model = CATALOGUE[row.task][name]()
    for x, y in rows(row.task):
        model.learn_one(x, y)
    assert len(dump(model)) / 1000 == pytest.approx(row.size, rel=0.1, abs=0.1)
