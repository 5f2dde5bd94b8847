"""How a worker's earlier lives have ended: every bad end is told, a good one is not."""

from pathlib import Path

import pytest

from stream_app.errors import KafkaUnavailableError
from stream_app.worker.restart_history import DIED, RestartHistory

ERROR = KafkaUnavailableError("gone", "wait")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "score-0.life"


def test_a_first_life_and_one_after_a_good_end_have_nothing_to_tell(file: Path) -> None:
    first = RestartHistory(file)
    assert (first.begin(), first.claim()) == ({}, {})
    first.end()
    assert RestartHistory(file).begin() == {}


def test_one_that_left_no_word_has_died(file: Path) -> None:
    RestartHistory(file).begin()
    after = RestartHistory(file)
    assert after.begin() == {DIED: 1}


def test_bad_ends_count_until_they_are_told(file: Path) -> None:
    for error in (None, ERROR, None):
        life = RestartHistory(file)
        life.begin()
        if error:
            life.fail(error)
    life = RestartHistory(file)
    assert life.begin() == {DIED: 2, "KafkaUnavailableError": 1}
    assert life.claim() == {DIED: 2, "KafkaUnavailableError": 1}
    assert life.claim() == {}
    life.told()
    life.end()
    assert RestartHistory(file).begin() == {}


def test_what_is_not_told_outlives_a_good_end(file: Path) -> None:
    RestartHistory(file).begin()
    quiet = RestartHistory(file)
    quiet.begin()
    quiet.end()
    assert RestartHistory(file).begin() == {DIED: 1}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"untold": 3, "ended": null}', '{"ended": "died"}']
)
def test_a_file_that_cannot_be_read_stops_nobody(file: Path, content: str) -> None:
    file.write_text(content)
    assert RestartHistory(file).begin() == {}


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    life = RestartHistory(tmp_path / "missing" / "score-0.life")
    life.begin()
    life.fail(ERROR)
    life.end()
