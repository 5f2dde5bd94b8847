"""Context in which a command runs: settings, pipeline and output."""

from functools import cached_property
from typing import Any

import typer

from stream_app.cli.options import print_json
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings, load_settings
from stream_app.telemetry.logs import setup_logging


class CommandContext:
    """Settings, pipeline and output of one command; each is loaded when it is first used.

    Args:
        pipeline: the command's PIPELINE argument.
        as_json: True to write the result as JSON.
    """

    def __init__(self, pipeline: str, as_json: bool = False) -> None:
        self._spec = pipeline
        self.as_json = as_json

    @cached_property
    def settings(self) -> Settings:
        """Settings from the environment.

        Raises:
            SettingsError: one has a wrong value.
        """
        return load_settings()

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline that the command is about, complete and checked.

        Raises:
            PipelineError: it cannot be loaded.
        """
        return self._load(with_model=True)

    @cached_property
    def declaration(self) -> Pipeline:
        """The pipeline with its model unchecked, for commands that do not use the model.

        Raises:
            PipelineError: it cannot be loaded.
        """
        return self._load(with_model=False)

    def _load(self, with_model: bool) -> Pipeline:
        # It imports River, which `--help` and wrong options do not need.
        from stream_app.loading import load_pipeline

        return load_pipeline(self._spec, with_model=with_model)

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return self.declaration.name

    def log_operations(self) -> "CommandContext":
        """Log to standard error, for commands whose operations are audited."""
        setup_logging(self.settings.log, role="operator")
        return self

    def write(self, found: Any, *lines: str) -> None:
        """Write the result: `found` as one JSON document, or the lines for people."""
        if self.as_json:
            print_json(found)
        elif lines:
            typer.echo("\n".join(lines))
