"""A kit for testing pipelines: `PipelineHarness` runs one in memory, the fixtures of `plugin` give a real broker."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_app.testing.harness import PipelineHarness

__all__ = ["PipelineHarness"]


def __getattr__(name: str) -> Any:
    """Import the harness when it is asked for: it brings River, which the fixtures can do without."""
    if name == "PipelineHarness":
        from stream_app.testing.harness import PipelineHarness

        return PipelineHarness
    raise AttributeError(f"module {__name__} has no attribute {name}")
