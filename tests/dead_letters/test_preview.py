"""Trying dead letters, with and without an edit, and the commands that look at them."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.scoring.partition_state import NEVER
from stream_app.core.scoring.predictor import Model
from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef, Origin
from stream_app.dead_letters.edits import EditFailure, Editing, load_edit
from stream_app.dead_letters.evaluation import RecordEvaluator
from stream_app.dead_letters.preview import Preview
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import PipelineError, SelectionError
from stream_app.loading import complete
from stream_app.model_store.model_loading import LoadedModel
from stream_app.records import Features
from stream_app.resilience import Fallback
from stream_app.settings import Settings
from tests.cli.test_commands import Commands
from tests.dead_letters.dead_letter_samples import FAILURES, letter, write
from tests.small_pipeline import HOUR, NOW, event, label, small_pipeline

MEND = """
import orjson

def edit(letter):
    fields = letter.record
    if fields["amount"] == "unknown":
        return None
    fields["amount"] = float(fields["amount"])
    return orjson.dumps(fields)

def number(letter):
    return 1

def same(letter):
    return letter.value
"""


def dead(number: int, value: bytes | None, *, kind: str = "raw", **headers: str) -> DeadLetter:
    """A dead letter in memory."""
    origin = Origin(f"payments.{kind}", 0, number)
    ref = DeadLetterRef(f"{kind}.dlq", 0, number, f"id{number}", origin)  # type: ignore[arg-type]
    texts = [(name.replace("_", "-"), text.encode()) for name, text in headers.items()]
    return DeadLetter(ref, NOW, f"e{number}".encode(), value, texts)


def trial(
    edit: str | None = None,
    clock: int = NEVER,
    model: Model | None = None,
    fallback: Fallback | None = None,
) -> Preview:
    pipeline = complete(small_pipeline(fallback=fallback))
    served = model or LoadedModel(
        "payments", 0, fingerprint(pipeline), pipeline.model(), BinaryTask()
    )
    judge = RecordEvaluator(Settings(), pipeline, served, {0: clock})
    return Preview(judge, Editing(pipeline, load_edit(edit) if edit else None))


@pytest.fixture
def mend(tmp_path: Path) -> str:
    file = tmp_path / "mend.py"
    file.write_text(MEND)
    return str(file)


def test_a_verdict_counts_every_letter_once() -> None:
    tried = trial()
    for one in (
        dead(1, orjson.dumps(event(1))),
        dead(1, orjson.dumps(event(1))),
        dead(2, orjson.dumps(event(2, amount="3.5"))),
        dead(3, orjson.dumps(event(3, amount="x"))),
        dead(4, b"{"),
        dead(5, orjson.dumps(label(5)), kind="labels"),
        dead(6, orjson.dumps(label(6) | {"fraud": None}), kind="labels"),
        dead(7, None, original_size="2000000"),
        dead(8, orjson.dumps(event(8)), error_class="poison"),
    ):
        tried.add(one)
    verdict = tried.verdict
    assert (verdict.tried, verdict.passed, verdict.labels, verdict.not_kept, verdict.harmful) == (
        9,
        2,
        1,
        1,
        1,
    )
    assert [(one.code, one.count, one.sample.offset) for one in verdict.failing] == [
        ("wrong-type", 2, 2), ("invalid-json", 1, 4), ("wrong-type", 1, 6),
    ]  # fmt: skip


def test_an_edit_mends_leaves_out_or_is_counted(mend: str) -> None:
    tried = trial(f"{mend}:edit")
    for number, value in enumerate((b'"1"', b'"unknown"', b'"x"', b'"y"', b"null")):
        content = orjson.dumps(event(number)).replace(str(float(number)).encode(), value)
        tried.add(dead(number, content))
    assert (tried.verdict.passed, tried.verdict.left_out) == (1, 1)
    assert [(one.message, one.where, one.count) for one in tried.verdict.failing] == [
        ("ValueError", "mend.py:8", 2), ("TypeError", "mend.py:8", 1),
    ]  # fmt: skip


def test_what_an_edit_returns_is_looked_at(mend: str) -> None:
    assert load_edit(f"{mend}:number")(dead(1, b"{}")) == EditFailure(
        "it returned int, not bytes or None", "mend.py"
    )


def test_a_wrong_key_becomes_that_of_the_key_field(mend: str) -> None:
    wrong = replace(dead(1, orjson.dumps(event(1))), key=b"other")
    without = replace(dead(2, orjson.dumps(event(2))), key=None)
    for edit, passed in ((None, 0), (f"{mend}:same", 2)):
        tried = trial(edit)
        tried.add(wrong)
        tried.add(without)
        assert tried.verdict.passed == passed
        assert sorted(one.code for one in tried.verdict.failing) == (
            [] if edit else ["key-mismatch", "missing-key"]
        )


def test_what_is_older_than_the_scorers_can_tell_from_a_duplicate_is_too_late() -> None:
    tried = trial(clock=NOW + 30 * HOUR)
    tried.add(dead(1, orjson.dumps(event(1))))
    tried.add(dead(2, orjson.dumps(event(2, NOW - 1))))
    assert (tried.verdict.passed, [one.code for one in tried.verdict.failing]) == (
        1,
        ["event-too-late"],
    )


class Moody:
    """A model that fails for small amounts, and is away for one."""

    name, version = "payments", 7

    def score(self, features: Features) -> float:
        if features["amount"] == 13.0:
            raise ConnectionError
        if features["amount"] in range(50):
            raise ValueError
        return 0.5


@pytest.mark.parametrize("fallback", [None, Fallback(score=0.1)])
def test_every_letter_is_judged_alone_whatever_failed_before(fallback: Fallback | None) -> None:
    """Neither a model that rests nor a record that is to be tried again hides what would become of it."""
    tried = trial(fallback=fallback, model=Moody())
    for number in range(97):
        tried.add(dead(number, orjson.dumps(event(number))))
    verdict = tried.verdict
    assert (verdict.passed, verdict.degraded) == (47, 50 if fallback else 0)
    assert {one.code: one.count for one in verdict.failing} == (
        {} if fallback else {"model-failed": 49, "model-unavailable": 1}
    )


def test_an_edit_that_is_not_there_is_refused(mend: str, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="names no function"):
        load_edit(mend)
    with pytest.raises(SelectionError, match="no function other"):
        load_edit(f"{mend}:other")
    with pytest.raises(PipelineError, match="cannot be read"):
        load_edit(f"{tmp_path}/missing.py:edit")


@pytest.mark.broker
def test_the_commands(tmp_path: Path, broker: EmbeddedBroker) -> None:
    commands = Commands(tmp_path, broker)
    commands.environment["STREAM_APP_DATA_DIR"] = str(tmp_path / "data")
    commands.json("topics", "create", "PIPELINE")
    values = [orjson.dumps(event(number, amount="1" if number % 2 else "x")) for number in range(9)]
    settings, name = commands.settings, commands.name
    write(
        settings,
        name,
        (letter(name, n, FAILURES[n % 3], value=value) for n, value in enumerate(values)),
    )

    groups = commands.json("dead-letters", "groups", "PIPELINE")
    assert {group["code"]: (group["count"], group["open"]) for group in groups} == dict.fromkeys(
        ("wrong-type", "missing-field", "invalid-json"), (3, 3)
    )
    text = commands.run("dead-letters", "groups", "PIPELINE", "--code", "wrong-type")[0]
    assert "field amount is string, not double" in text
    assert "3 open dead letters" in text

    lines = commands.run("dead-letters", "list", "PIPELINE", "--where", "record['amount'] == '1'")[
        0
    ].splitlines()
    assert len(lines) == 4
    shown = commands.run("dead-letters", "show", "PIPELINE", "--id", lines[0].split()[1])[0]
    assert '"amount": "1"' in shown
    assert "original-offset" in shown

    commands.run("dead-letters", "export", "PIPELINE", "--raw", "--to", str(tmp_path / "values"))
    assert sorted((tmp_path / "values").read_bytes().split(b"\n")) == sorted(values)
    assert (
        "is there already"
        in commands.run(
            "dead-letters", "export", "PIPELINE", "--to", str(tmp_path / "values"), code=17
        )[1]
    )

    (tmp_path / "mend.py").write_text(MEND)
    verdict = commands.json("dead-letters", "try", "PIPELINE", "--edit", f"{tmp_path}/mend.py:edit")
    assert (verdict["tried"], verdict["passed"]) == (9, 4)
    assert [(one["code"], one["count"]) for one in verdict["failing"]] == [("edit-failed", 5)]
    for wrong, said in (
        (("--group", "zz"), "No group of dead letters is zz"),
        (("--key", "nobody"), "No dead letter is selected"),
        (("--where", "record["), "no Python expression"),
    ):
        assert said in commands.run("dead-letters", "list", "PIPELINE", *wrong, code=18)[1]
