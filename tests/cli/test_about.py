"""`errors` explains every code and suggests the nearest for an unknown one."""

import json

import pytest
from typer.testing import CliRunner

from stream_app.cli import app
from stream_app.cli.exit_codes import exit_codes
from stream_app.error_codes import ERROR_CODES, WHO_ACTS, ErrorClass


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["errors", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_all_codes_are_listed_in_the_order_in_which_a_record_meets_them() -> None:
    lines = run().splitlines()
    assert [line.split()[0] for line in lines] == ["code", *ERROR_CODES]
    assert json.loads(run("--json"))[0].keys() == {
        "code",
        "class",
        "stage",
        "meaning",
        "who_acts",
        "remedy",
    }


@pytest.mark.parametrize("kind", ErrorClass)
def test_a_class_lists_only_its_own_codes(kind: ErrorClass) -> None:
    found = json.loads(run("--class", kind, "--json"))
    assert [one["code"] for one in found] == [
        code for code, one in ERROR_CODES.items() if one.error_class is kind
    ]
    assert found


@pytest.mark.parametrize("code", ERROR_CODES)
def test_a_code_is_explained(code: str) -> None:
    declared = ERROR_CODES[code]
    found = json.loads(run(code, "--json"))
    assert found == {
        "code": code,
        "class": declared.error_class,
        "stage": declared.stage,
        "meaning": declared.meaning,
        "who_acts": WHO_ACTS[declared.error_class],
        "remedy": declared.remedy,
    }
    shown = " ".join(run(code).split())
    assert all(text in shown for text in found.values())


def test_exit_codes_are_listed_and_explained_too() -> None:
    found = json.loads(run("--exit-codes", "--json"))
    assert [(one["exit_code"], one["meaning"]) for one in found] == exit_codes()
    assert "Another process has taken over" in run("8")
    assert [line.split()[0] for line in run("--exit-codes").splitlines()[1:]] == [
        str(n) for n, _ in exit_codes()
    ]


def test_an_unknown_code_suggests_the_nearest() -> None:
    assert "did you mean features-failed" in " ".join(run("feature-faild", code=2).split())
    assert "lists them all" in " ".join(run("zzz", code=2).split())


@pytest.mark.parametrize(
    "arguments",
    [("--class", "bug", "--exit-codes"), ("rejected", "--exit-codes"), ("--class", "x")],
)
def test_incompatible_options_end_with_2(arguments: tuple[str, ...]) -> None:
    run(*arguments, code=2)
