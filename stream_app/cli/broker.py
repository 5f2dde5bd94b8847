"""`broker`: the embedded Kafka by hand; its commands are imported when one of them is asked for."""

from typing import Any

import typer
from typer.core import TyperGroup


class _Later(TyperGroup):
    """The commands of `stream_app.broker.broker_commands`, whose imports would slow every other command down."""

    def list_commands(self, ctx: Any) -> list[str]:
        self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        self._load()
        return super().get_command(ctx, cmd_name)

    def _load(self) -> None:
        from stream_app.broker.broker_commands import app as loaded

        loaded.rich_markup_mode = None
        if not self.commands:
            self.commands.update(typer.main.get_group(loaded).commands)


app = typer.Typer(
    cls=_Later, help="The embedded Kafka broker: start, stop, status, logs.", no_args_is_help=True
)
