"""The command line: thin commands, each in a file of its group; heavy modules are imported inside the commands."""

from stream_app.cli.main import app, main

__all__ = ["app", "main"]
