"""Tests of pipelines.

harness: `PipelineHarness`, which runs a pipeline in memory.
plugin: pytest fixtures with a real broker.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_app.testing.harness import PipelineHarness

__all__ = ["PipelineHarness"]


def __getattr__(name: str) -> Any:
    """Import the harness when it is used: it imports River, which the fixtures do not need."""
    if name == "PipelineHarness":
        from stream_app.testing.harness import PipelineHarness

        return PipelineHarness
    raise AttributeError(f"module {__name__} has no attribute {name}")
