"""A preview counts the outcomes of dead letters, with and without an edit function."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.model_protocols import Model
from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef, Origin
from stream_app.dead_letters.dry_run import Preview, RecordEvaluator
from stream_app.dead_letters.replay_records import EditFailure, RecordEditor, load_edit
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import PipelineError, SelectionError
from stream_app.headers import HEADER_PREFIX
from stream_app.loading import complete
from stream_app.model_store.model_loading import LoadedModel
from stream_app.records import Features
from stream_app.resilience import Fallback
from stream_app.settings import Settings
from tests.cli.test_commands import Commands
from tests.dead_letters.dead_letter_samples import FAILURES, sample, write
from tests.small_pipeline import HOUR, NOW, event, label, small_pipeline

EDITS = """
import orjson

def edit(dead_letter):
    fields = dead_letter.record
    if fields["amount"] == "unknown":
        return None
    fields["amount"] = float(fields["amount"])
    return orjson.dumps(fields)

def number(dead_letter):
    return 1

def same(dead_letter):
    return dead_letter.value
"""


def make_dead_letter(
    number: int, value: bytes | None, *, kind: str = "raw", **headers: str
) -> DeadLetter:
    """Return a dead letter that is on no topic."""
    origin = Origin(f"payments.{kind}", 0, number)
    ref = DeadLetterRef(f"{kind}.dlq", 0, number, f"id{number}", origin)  # type: ignore[arg-type]
    texts = [
        (HEADER_PREFIX + name.replace("_", "-"), text.encode()) for name, text in headers.items()
    ]
    return DeadLetter(ref, NOW, f"e{number}".encode(), value, texts)


def make_preview(
    edit: str | None = None,
    oldest: int = NEVER,
    model: Model | None = None,
    fallback: Fallback | None = None,
) -> Preview:
    pipeline = complete(small_pipeline(fallback=fallback))
    served = model or LoadedModel(
        "payments", 0, fingerprint(pipeline), pipeline.model(), BinaryTask()
    )
    evaluator = RecordEvaluator(Settings(), pipeline, served, {0: oldest})
    return Preview(evaluator, RecordEditor(pipeline, load_edit(edit) if edit else None))


@pytest.fixture
def edits(tmp_path: Path) -> str:
    file = tmp_path / "fix.py"
    file.write_text(EDITS)
    return str(file)


def test_a_label_passes_however_old_it_is_because_its_prediction_may_be_open() -> None:
    preview = make_preview(oldest=NOW + 1000 * HOUR)
    preview.add(make_dead_letter(5, orjson.dumps(label(5)), kind="labels"))
    assert (preview.result.labels, preview.result.failing) == (1, [])


def test_a_preview_counts_every_dead_letter_once() -> None:
    preview = make_preview()
    for one in (
        make_dead_letter(1, orjson.dumps(event(1))),
        make_dead_letter(1, orjson.dumps(event(1))),
        make_dead_letter(2, orjson.dumps(event(2, amount="3.5"))),
        make_dead_letter(3, orjson.dumps(event(3, amount="x"))),
        make_dead_letter(4, b"{"),
        make_dead_letter(5, orjson.dumps(label(5)), kind="labels"),
        make_dead_letter(6, orjson.dumps(label(6) | {"fraud": None}), kind="labels"),
        make_dead_letter(7, None, original_size="2000000"),
        make_dead_letter(8, orjson.dumps(event(8)), error_class="poison"),
    ):
        preview.add(one)
    result = preview.result
    assert (
        result.evaluated,
        result.passed,
        result.labels,
        result.value_not_stored,
        result.poison,
    ) == (
        9,
        2,
        1,
        1,
        1,
    )
    assert [(one.code, one.count, one.sample.offset) for one in result.failing] == [
        ("wrong-type", 2, 2), ("invalid-json", 1, 4), ("wrong-type", 1, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [event(1), event(1, amount="x")])
def test_headers_of_a_producer_do_not_affect_a_preview(value: dict[str, object]) -> None:
    plain = make_dead_letter(1, orjson.dumps(value))
    headers = [("x", content) for content in (b"\xff", b"\0", b"", None)]
    found = []
    for one in (plain, replace(plain, headers=headers)):
        preview = make_preview()
        preview.add(one)
        found.append(preview.result)
    assert found[0] == found[1]
    assert found[1].passed + len(found[1].failing) == 1


def test_an_edit_function_fixes_skips_or_fails(edits: str) -> None:
    preview = make_preview(f"{edits}:edit")
    for number, value in enumerate((b'"1"', b'"unknown"', b'"x"', b'"y"', b"null")):
        content = orjson.dumps(event(number)).replace(str(float(number)).encode(), value)
        preview.add(make_dead_letter(number, content))
    assert (preview.result.passed, preview.result.skipped) == (1, 1)
    assert [(one.message, one.location, one.count) for one in preview.result.failing] == [
        ("ValueError", "fix.py:8", 2), ("TypeError", "fix.py:8", 1),
    ]  # fmt: skip


def test_an_edit_function_that_returns_no_bytes_fails(edits: str) -> None:
    assert load_edit(f"{edits}:number")(make_dead_letter(1, b"{}")) == EditFailure(
        "it returned int, not bytes or None", "fix.py"
    )


def test_an_edit_corrects_a_wrong_key(edits: str) -> None:
    wrong = replace(make_dead_letter(1, orjson.dumps(event(1))), key=b"other")
    without = replace(make_dead_letter(2, orjson.dumps(event(2))), key=None)
    for edit, passed in ((None, 0), (f"{edits}:same", 2)):
        preview = make_preview(edit)
        preview.add(wrong)
        preview.add(without)
        assert preview.result.passed == passed
        assert sorted(one.code for one in preview.result.failing) == (
            [] if edit else ["key-mismatch", "missing-key"]
        )


def test_an_event_older_than_the_scorers_state_is_too_late() -> None:
    preview = make_preview(oldest=NOW)
    preview.add(make_dead_letter(1, orjson.dumps(event(1))))
    preview.add(make_dead_letter(2, orjson.dumps(event(2, NOW - 1))))
    assert (preview.result.passed, [one.code for one in preview.result.failing]) == (
        1,
        ["event-too-late"],
    )


class FailingModel:
    """A model that fails for small amounts, and is unavailable for one of them."""

    name, version = "payments", 7

    def score(self, features: Features) -> float:
        if features["amount"] == 13.0:
            raise ConnectionError
        if features["amount"] in range(50):
            raise ValueError
        return 0.5


@pytest.mark.parametrize("fallback", [None, Fallback(score=0.1)])
def test_earlier_failures_do_not_affect_the_outcome_of_a_dead_letter(
    fallback: Fallback | None,
) -> None:
    """An open breaker or a pending retry would hide the outcomes of later records."""
    preview = make_preview(fallback=fallback, model=FailingModel())
    for number in range(97):
        preview.add(make_dead_letter(number, orjson.dumps(event(number))))
    result = preview.result
    assert (result.passed, result.degraded) == (47, 50 if fallback else 0)
    assert {one.code: one.count for one in result.failing} == (
        {} if fallback else {"model-failed": 49, "model-unavailable": 1}
    )


def test_a_missing_edit_function_is_an_error(edits: str, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="names no function"):
        load_edit(edits)
    with pytest.raises(SelectionError, match="no function other"):
        load_edit(f"{edits}:other")
    with pytest.raises(PipelineError, match="cannot be read"):
        load_edit(f"{tmp_path}/missing.py:edit")


@pytest.mark.broker
def test_commands_show_export_and_try_dead_letters(tmp_path: Path, broker: EmbeddedBroker) -> None:
    commands = Commands(tmp_path, broker)
    commands.environment["STREAM_APP_DATA_DIR"] = str(tmp_path / "data")
    commands.json("topics", "create", "PIPELINE")
    values = [orjson.dumps(event(number, amount="1" if number % 2 else "x")) for number in range(9)]
    settings, name = commands.settings, commands.name
    write(
        settings,
        name,
        (sample(name, n, FAILURES[n % 3], value=value) for n, value in enumerate(values)),
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
    assert "stream-app-original-offset" in shown

    commands.run("dead-letters", "export", "PIPELINE", "--raw", "--to", str(tmp_path / "values"))
    assert sorted((tmp_path / "values").read_bytes().split(b"\n")) == sorted(values)
    assert (
        "exists already"
        in commands.run(
            "dead-letters", "export", "PIPELINE", "--to", str(tmp_path / "values"), code=17
        )[1]
    )

    (tmp_path / "fix.py").write_text(EDITS)
    found = commands.json("dead-letters", "try", "PIPELINE", "--edit", f"{tmp_path}/fix.py:edit")
    assert (found["evaluated"], found["passed"]) == (9, 4)
    assert [(one["code"], one["count"]) for one in found["failing"]] == [("edit-failed", 5)]
    for wrong, message in (
        (("--group", "zz"), "No group of dead letters is zz"),
        (("--key", "nobody"), "No dead letter is selected"),
        (("--where", "record["), "no Python expression"),
    ):
        assert message in commands.run("dead-letters", "list", "PIPELINE", *wrong, code=18)[1]
