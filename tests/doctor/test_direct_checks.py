"""Checks of the partitioner of a topic that is read directly."""

import pytest

from stream_app.doctor.direct_checks import evaluate_placement
from stream_app.kafka.partitioner import PARTITIONERS, Partitioner
from stream_app.records import Record
from stream_app.sources import Source
from tests.small_pipeline import small_pipeline

SOURCE = Source(
    topic="shop.orders", name="orders", start="earliest", direct=True, partitioner="fnv1a"
)
PIPELINE = small_pipeline(sources=(SOURCE,))


def placed(partitioner: Partitioner, count: int = 50, wrong: int = 0) -> list[Record]:
    """Return records of an own key each, the first ones elsewhere."""
    keys = [b"key-%d" % number for number in range(count)]
    return [
        Record(
            "shop.orders", (partitioner.place(key, 4) + (number < wrong)) % 4, 0, 0, key, b"{}", ()
        )
        for number, key in enumerate(keys)
    ]


def test_the_declared_partitioner_is_confirmed() -> None:
    (found,) = evaluate_placement(PIPELINE, placed(PARTITIONERS["fnv1a"]), 4)
    assert (found.level, found.message) == (
        "ok",
        "shop.orders: 50 keys are where fnv1a puts them, as declared",
    )


@pytest.mark.parametrize("name", ["murmur2", "crc32"])
def test_another_partitioner_is_found(name: str) -> None:
    (found,) = evaluate_placement(PIPELINE, placed(PARTITIONERS[name]), 4)  # type: ignore[index]
    assert found.level == "problem"
    assert f"but all are where {name} does" in found.message
    assert found.remedy == f'Declare partitioner="{name}" of source orders'


@pytest.mark.parametrize(("count", "wrong"), [(50, 3), (5, 5)])
def test_some_misplaced_keys_are_a_problem_of_their_producer(count: int, wrong: int) -> None:
    (found,) = evaluate_placement(PIPELINE, placed(PARTITIONERS["fnv1a"], count, wrong), 4)
    assert found.level == "problem"
    assert found.message == (
        f"shop.orders: {wrong} of {count} keys are not where fnv1a puts them: "
        "these records are dead letters `wrong-partition`"
    )
    assert found.remedy.startswith("Leave direct out")


def test_without_keys_nothing_is_found() -> None:
    (found,) = evaluate_placement(PIPELINE, [Record("shop.orders", 0, 0, 0, None, b"{}", ())], 4)
    assert found.level == "skipped"
