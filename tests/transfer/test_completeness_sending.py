"""Time until which a file of labels is complete, and the command that says it for all labels."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stream_app.transfer.completeness_sending import LabelTimes
from stream_app.transfer.json_lines import BadLine, Row
from tests.in_process import run_in_process
from tests.small_pipeline import HOUR, NOW, label, small_pipeline

DECLARED = """
from tests.small_pipeline import small_pipeline
pipeline = small_pipeline("payments")
"""


def rows(*times: int) -> Iterator[Row | BadLine]:
    for number, time in enumerate(times):
        fields = label(number, known_at=time)
        yield Row(number, str(fields["id"]).encode(), orjson.dumps(fields))


def complete_until(sent: Iterator[Row | BadLine]) -> int | None:
    times = LabelTimes(small_pipeline())
    list(times.observe(sent))
    return times.complete_until()


def test_a_file_is_complete_until_its_fourth_newest_label() -> None:
    assert complete_until(rows(3, 9, 1, 7, 5)) == 3
    assert complete_until(rows(1, 2, 3)) is None


def test_three_wrong_times_and_bad_lines_do_no_harm() -> None:
    wrong = [NOW, NOW, 10**15]
    assert complete_until(rows(*wrong, *range(50))) == 48
    bad: list[Row | BadLine] = [BadLine(1, "no JSON"), Row(2, b"k", b"{"), Row(3, b"", b"{}")]
    assert complete_until(iter([*bad, *rows(*range(4))])) == 0


def test_all_rows_are_passed_on() -> None:
    sent = list(rows(1, 2, HOUR))
    assert list(LabelTimes(small_pipeline()).observe(iter(sent))) == sent


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--until", "soon"], "give 30s, 10m, 2h, 1d or 2026-01-31T12:00:00Z"),
        (["--until", "9000-01-01"], "it is in the future"),
        (["--until", "1d", "--source", "x" * 201], "give a name of up to 200 characters"),
        ([], "Missing option"),
    ],
)
def test_wrong_options_are_one_line(options: list[str], problem: str, tmp_path: Path) -> None:
    (tmp_path / "declared.py").write_text(DECLARED)
    done = run_in_process("labels", "complete", str(tmp_path / "declared.py"), *options)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
