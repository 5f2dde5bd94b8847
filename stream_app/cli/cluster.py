"""`topics`, `acl`, `schemas` and `reset`: what a pipeline has on the cluster and its registry."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.options import JsonOption, PipelineArgument
from stream_app.kafka.acl import ROLE_DESCRIPTIONS, AclRole, AclRule, grant_acls, pipeline_acls
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import create_topics, describe_topics
from stream_app.lifecycle.reset import Reset, await_no_workers, execute_reset, plan_reset
from stream_app.lifecycle.up import exclusive_use, running_cluster
from stream_app.pipeline import ingested_topics
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.subjects import (
    CheckedSubject,
    check_schemas,
    register_schemas,
    require_compatible,
    versions_in_files,
    versions_in_registry,
)
from stream_app.status.pipeline_view import PipelineView
from stream_app.topic_kinds import topic_name

app = typer.Typer()
topics = typer.Typer(no_args_is_help=True)
acl = typer.Typer(no_args_is_help=True)
schemas = typer.Typer(no_args_is_help=True)

AgainstOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Folder of released schemas, <id>-<subject>.avsc, or the file of one older schema "
        "[default: the registry].",
    ),
]


@topics.command("create", epilog="Example: stream-app topics create flights")
def create_missing(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Create the topics of PIPELINE that are missing; leave existing ones as they are."""
    context = CommandContext(pipeline, as_json)
    admin, sources = make_admin(context.settings), bool(ingested_topics(context.declaration))
    results = create_topics(admin, context.name, context.settings, sources)
    context.write(
        [asdict(result) for result in results],
        *(f"{one.name}: {one.result}, partitions: {one.partitions}" for one in results),
    )


@topics.command("show", epilog="Example: stream-app topics show flights --json")
def show_topics(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Show the topics of PIPELINE as they are on the cluster, and those that are missing."""
    context = CommandContext(pipeline, as_json)
    admin, sources = make_admin(context.settings), bool(ingested_topics(context.declaration))
    found = describe_topics(admin, context.name, context.settings, sources)
    lines = []
    for topic in found:
        config = "".join(f", {setting}: {value}" for setting, value in topic.config.items())
        state = f"partitions: {topic.partitions}{config}" if topic.exists else "missing"
        lines.append(f"{topic.name}: {state}")
    context.write([{**asdict(topic), "exists": topic.exists} for topic in found], *lines)


@acl.command("show", epilog="Example: stream-app acl show flights --role scorer")
def show_rights(
    pipeline: PipelineArgument,
    role: Annotated[
        list[AclRole] | None, typer.Option(help="Role; may be repeated [default: all].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the least rights that each role of PIPELINE needs; asks no cluster."""
    context = CommandContext(pipeline, as_json)
    found = {one: pipeline_acls(context.declaration, one) for one in role or AclRole}
    lines = []
    for one, rules in found.items():
        lines += [f"{one}: {ROLE_DESCRIPTIONS[one]}", *(f"  {_in_words(rule)}" for rule in rules)]
    context.write({one: [rule._asdict() for rule in rules] for one, rules in found.items()}, *lines)


@acl.command(
    "apply", epilog="Example: stream-app acl apply flights --role producer --principal User:shop"
)
def apply_rights(
    pipeline: PipelineArgument,
    role: Annotated[list[AclRole], typer.Option(help="Role of the user; may be repeated.")],
    principal: Annotated[
        str, typer.Option(metavar="User:NAME", help="User who gets the rights, as Kafka writes it.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Give a user the rights of a role of PIPELINE; requires the right to alter the cluster."""
    if not principal.startswith("User:") or principal == "User:":
        raise typer.BadParameter("write it as User:NAME", param_hint="--principal")
    context = CommandContext(pipeline, as_json)
    rules = pipeline_acls(context.declaration, *role)
    if not rules:
        raise typer.BadParameter(
            "it needs no rights: the pipeline declares no sources", param_hint="--role"
        )
    grant_acls(make_admin(context.settings), principal, rules)
    context.write(
        {"principal": principal, "granted": [rule._asdict() for rule in rules]},
        *(f"{principal} may {_in_words(rule)}" for rule in rules),
    )


def _in_words(rule: AclRule) -> str:
    resource = rule.resource.replace("_", " ")
    return (
        f"{rule.operation.replace('_', ' ')} {resource} {rule.name}{'*' if rule.prefixed else ''}"
    )


@app.command(epilog="Example: stream-app reset flights --keep-raw --yes")
def reset(
    pipeline: PipelineArgument,
    keep_raw: Annotated[
        bool,
        typer.Option(
            "--keep-raw",
            help="Keep raw records, labels and the audit; the records are processed again.",
        ),
    ] = False,
    keep_scored: Annotated[
        bool,
        typer.Option(
            "--keep-scored",
            help="Keep scored records; with --keep-raw each event is there a second time.",
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Delete it for good; without, only show what would be deleted."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete all stored data of PIPELINE, topics, offsets and models, to start it over.

    Fails while workers of PIPELINE run.
    """
    context = CommandContext(pipeline, as_json)
    name, settings = context.name, context.settings
    with running_cluster(settings), closing(PipelineView(settings, name)) as view:
        planned = plan_reset(view, keep_raw=keep_raw, keep_scored=keep_scored)
        if not as_json:
            typer.echo("\n".join(reset_lines(planned)))
        if yes:
            with exclusive_use(settings, name):
                await_no_workers(view)
                execute_reset(view, planned)
    context.write(
        {**asdict(planned), "done": yes},
        "Deleted." if yes else "Nothing is deleted yet: add --yes to delete it for good.",
    )


def reset_lines(planned: Reset) -> Iterator[str]:
    """Yield a line for everything that would be deleted, and for what would be kept."""
    yield f"Stored data of {planned.pipeline} on {planned.cluster} to delete:"
    scored = topic_name(planned.pipeline, "scored")
    for topic, count in planned.deleted.items():
        yield f"  topic {topic}: at most {count:,} records"
        if topic == scored:
            yield (
                "    Its consumers lose what they have not read, and their position in it; "
                "--keep-scored keeps it."
            )
    yield f"  offsets of {', '.join(planned.groups)}"
    yield "  every model version and checkpoint in the artifact store"
    for topic, count in planned.kept.items():
        yield f"Kept: topic {topic}, at most {count:,} records"
    if scored in planned.kept and topic_name(planned.pipeline, "raw") in planned.kept:
        yield f"Each event that is scored again is then in {scored} twice."


@schemas.command(epilog="Example: stream-app schemas check payments.py --against schemas/released")
def check(
    pipeline: PipelineArgument, against: AgainstOption = None, as_json: JsonOption = False
) -> None:
    """Check that the schemas of PIPELINE can read what was written with all older versions.

    Ends with exit code 14 if one cannot.
    """
    context = CommandContext(pipeline, as_json)
    versions = (
        versions_in_files(against, context.pipeline)
        if against
        else versions_in_registry(open_registry(context.settings.registry))
    )
    checked = check_schemas(context.pipeline, versions)
    context.write(
        [
            {**asdict(one), "problems": [problem._asdict() for problem in one.problems]}
            for one in checked
        ],
        *(line for one in checked for line in _subject_lines(one)),
    )
    require_compatible(checked)


@schemas.command(epilog="Example: stream-app schemas register payments.py")
def register(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Register the schemas of PIPELINE, if all pass the check of `schemas check`."""
    context = CommandContext(pipeline, as_json)
    results = register_schemas(context.pipeline, context.settings)
    context.write(
        [asdict(result) for result in results],
        *(f"{result.subject}: {result.result}, id: {result.id}" for result in results),
    )


def _subject_lines(checked: CheckedSubject) -> Iterator[str]:
    yield f"{checked.subject}: {checked.result}, versions: {checked.versions}"
    for problem in checked.problems:
        field = f"field {problem.field}: " if problem.field else ""
        yield f"  version {problem.version}: {field}{problem.reason}. {problem.remedy}"
