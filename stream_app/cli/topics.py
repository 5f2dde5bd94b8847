"""`topics`: create and show the topics of a pipeline."""

from dataclasses import asdict

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import create_topics, describe_topics
from stream_app.loading import load_pipeline
from stream_app.settings import load_settings

app = typer.Typer(help="The topics of a pipeline: create, show.", no_args_is_help=True)


@app.command(epilog="Example: stream-app topics create flights")
def create(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Create the topics of PIPELINE that are missing; existing ones are left as they are."""
    name, settings = load_pipeline(pipeline).name, load_settings()
    results = create_topics(make_admin(settings), name, settings)
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        for result in results:
            typer.echo(f"{result.name}: {result.result}, partitions: {result.partitions}")


@app.command(epilog="Example: stream-app topics show flights --json")
def show(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Show the topics of PIPELINE as they are on the cluster, with those that are missing."""
    name, settings = load_pipeline(pipeline).name, load_settings()
    found = describe_topics(make_admin(settings), name, settings)
    if as_json:
        print_json([{**asdict(topic), "exists": topic.exists} for topic in found])
        return
    for topic in found:
        shown = "".join(f", {setting}: {value}" for setting, value in topic.config.items())
        typer.echo(
            f"{topic.name}: "
            + (f"partitions: {topic.partitions}{shown}" if topic.exists else "missing")
        )
