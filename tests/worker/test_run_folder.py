"""Every failure of a worker is reported once by a later run, a normal end is not."""

from pathlib import Path

import pytest

from stream_app.errors import KafkaUnavailableError
from stream_app.worker.run_folder import DIED, RestartHistory

ERROR = KafkaUnavailableError("gone", "wait")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "score-0.restarts"


def test_nothing_is_reported_on_the_first_run_and_after_a_normal_end(file: Path) -> None:
    first = RestartHistory(file)
    assert (first.begin(), first.claim()) == ({}, {})
    first.end()
    assert RestartHistory(file).begin() == {}


def test_a_run_without_an_end_counts_as_died(file: Path) -> None:
    RestartHistory(file).begin()
    later = RestartHistory(file)
    assert later.begin() == {DIED: 1}


def test_failures_are_counted_until_they_are_reported(file: Path) -> None:
    for error in (None, ERROR, None):
        history = RestartHistory(file)
        history.begin()
        if error:
            history.fail(error)
    history = RestartHistory(file)
    assert history.begin() == {DIED: 2, "KafkaUnavailableError": 1}
    assert history.claim() == {DIED: 2, "KafkaUnavailableError": 1}
    assert history.claim() == {}
    history.mark_reported()
    history.end()
    assert RestartHistory(file).begin() == {}


def test_an_unreported_failure_survives_a_normal_end(file: Path) -> None:
    RestartHistory(file).begin()
    following = RestartHistory(file)
    following.begin()
    following.end()
    assert RestartHistory(file).begin() == {DIED: 1}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"unreported": 3, "failure": null}', '{"failure": "died"}']
)
def test_a_damaged_file_counts_as_empty(file: Path, content: str) -> None:
    file.write_text(content)
    assert RestartHistory(file).begin() == {}


def test_a_file_that_cannot_be_written_stops_no_worker(tmp_path: Path) -> None:
    history = RestartHistory(tmp_path / "missing" / "score-0.restarts")
    history.begin()
    history.fail(ERROR)
    history.end()
