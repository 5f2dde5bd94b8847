"""`acl`: the rights on the cluster that each role needs."""

from typing import Annotated

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.kafka.acl import AclRule, grant, rights
from stream_app.kafka.acl_roles import MEANINGS, AclRole
from stream_app.kafka.clients import make_admin
from stream_app.loading import load_pipeline
from stream_app.settings import load_settings

app = typer.Typer(help="Access rights on the cluster, by role: show, apply.", no_args_is_help=True)


@app.command(epilog="Example: stream-app acl show flights --role scorer")
def show(
    pipeline: PipelineArgument,
    role: Annotated[
        list[AclRole] | None, typer.Option(help="Again for each further role [default: all].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the least rights that each role of PIPELINE needs; asks no cluster."""
    name = load_pipeline(pipeline).name
    found = {one: rights(name, one) for one in role or AclRole}
    if as_json:
        print_json({one: [right._asdict() for right in wanted] for one, wanted in found.items()})
        return
    for one, wanted in found.items():
        typer.echo(f"{one}: {MEANINGS[one]}")
        for right in wanted:
            typer.echo(f"  {_words(right)}")


@app.command(epilog="Example: stream-app acl apply flights --role producer --principal User:shop")
def apply(
    pipeline: PipelineArgument,
    role: Annotated[
        list[AclRole], typer.Option(help="Again for each further role that the user has.")
    ],
    principal: Annotated[
        str, typer.Option(metavar="User:NAME", help="Who gets the rights, as Kafka writes it.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Give a user the rights of a role of PIPELINE; it takes a user who may alter the cluster."""
    if not principal.startswith("User:") or principal == "User:":
        raise typer.BadParameter("write it as User:NAME", param_hint="--principal")
    name = load_pipeline(pipeline).name
    wanted = rights(name, *role)
    grant(make_admin(load_settings()), principal, wanted)
    if as_json:
        print_json({"principal": principal, "granted": [right._asdict() for right in wanted]})
        return
    for right in wanted:
        typer.echo(f"{principal} may {_words(right)}")


def _words(right: AclRule) -> str:
    resource = right.resource.replace("_", " ")
    return f"{right.operation.replace('_', ' ')} {resource} {right.name}{'*' if right.prefixed else ''}"
