"""`broker`: the embedded Kafka, which other commands start when they need it."""

import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from stream_app.broker.embedded import BrokerStatus, EmbeddedBroker, keep_running
from stream_app.cli.options import JsonOption, print_json
from stream_app.settings import load_settings

app = typer.Typer(no_args_is_help=True)

_POLL_SECONDS = 0.3

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder of the broker's data [default: kafka in the data folder].",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=65535, help="Port [default: the last one, or a free one]."
    ),
]


def _broker(data_dir: Path | None, port: int | None = None) -> EmbeddedBroker:
    settings = load_settings()
    return EmbeddedBroker(
        data_dir or settings.data_dir / "kafka",
        port=port or settings.broker.port,
        cache_dir=settings.cache_dir,
        repository=settings.broker.repository,
        heap=settings.broker.heap,
    )


@app.command(epilog="Example: stream-app broker start --port 9092")
def start(
    data_dir: DataDir = None,
    port: Port = None,
    as_json: JsonOption = False,
) -> None:
    """Start the broker, unless it runs, and wait until it is ready."""
    broker = _broker(data_dir, port)
    broker.start()
    keep_running(broker)
    _show(broker.status(), as_json)


@app.command(epilog="Example: stream-app broker stop")
def stop(data_dir: DataDir = None, as_json: JsonOption = False) -> None:
    """Stop the broker; its data is kept."""
    broker = _broker(data_dir)
    broker.stop()
    _show(broker.status(), as_json)


@app.command(epilog="Example: stream-app broker status --json")
def status(data_dir: DataDir = None, as_json: JsonOption = False) -> None:
    """Show the state and the address of the broker; exit code 1 if it does not run."""
    found = _broker(data_dir).status()
    _show(found, as_json)
    raise typer.Exit(0 if found.running else 1)


@app.command(epilog="Example: stream-app broker logs -n 20 --follow")
def logs(
    data_dir: DataDir = None,
    lines: Annotated[
        int, typer.Option("-n", "--lines", metavar="N", min=0, help="Number of lines.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until interrupted.")
    ] = False,
) -> None:
    """Print the end of the broker's log."""
    file = _broker(data_dir).log_file
    position = 0
    if file.exists():
        with file.open(errors="replace") as stream:
            typer.echo("".join(deque(stream, lines)), nl=False)
            position = stream.tell()
    while follow:
        time.sleep(_POLL_SECONDS)
        position = _print_from(file, position)


def _print_from(file: Path, position: int) -> int:
    """Print what was added after a position, or all of a rotated file; return the new end."""
    if not file.exists():
        return 0
    with file.open(errors="replace") as stream:
        stream.seek(position if position <= file.stat().st_size else 0)
        typer.echo(stream.read(), nl=False)
        return stream.tell()


def _show(found: BrokerStatus, as_json: bool) -> None:
    fields = {
        "running": found.running,
        "pid": found.pid,
        "bootstrap_servers": found.bootstrap_servers,
        "data_dir": str(found.data_dir),
        "log_file": str(found.log_file),
        "version": found.version,
        "since": found.since.isoformat(timespec="seconds") if found.since else None,
    }
    if as_json:
        print_json(fields)
    else:
        typer.echo(
            "\n".join(
                f"{name.replace('_', ' ')}: {_as_text(value)}" for name, value in fields.items()
            )
        )


def _as_text(value: object) -> str:
    return (
        {True: "yes", False: "no", None: "-"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )
