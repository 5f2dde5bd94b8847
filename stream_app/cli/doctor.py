"""`doctor`: what is wrong, and how to mend it."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from stream_app.cli.options import JsonOption, print_json, report_console
from stream_app.doctor.check_list import CHECKS
from stream_app.doctor.context import DoctorContext
from stream_app.doctor.report_rendering import render
from stream_app.doctor.runner import run_checks
from stream_app.errors import UnhealthyError

app = typer.Typer()


Checked = Annotated[
    str | None,
    typer.Argument(
        metavar="PIPELINE", help="As for other commands; without it, what all of them need."
    ),
]


@app.command(epilog="Example: stream-app doctor flights")
def doctor(pipeline: Checked = None, as_json: JsonOption = False) -> None:
    """Check settings, machine, cluster, topics, producers, workers and model; say what is wrong and how to mend it.

    Nothing is changed: only the artifact store gets a probe, which is deleted again. Ends with exit code 15 if there is
    a problem, with 0 if there are at most warnings.
    """
    findings = []
    with (
        closing(DoctorContext(pipeline)) as examined,
        Console(stderr=True).status("checking") as progress,
    ):
        for finding in run_checks(CHECKS, examined):
            findings.append(finding)
            progress.update(f"checking: {finding.area}")
    problems = [finding for finding in findings if finding.level == "problem"]
    if as_json:
        print_json(
            {
                "pipeline": pipeline,
                "healthy": not problems,
                "findings": [asdict(one) for one in findings],
            }
        )
    else:
        report_console().print(render(findings))
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UnhealthyError(f"The doctor found {count}", "Each is listed with what to do about it")
