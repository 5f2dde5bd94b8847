"""Checks, their results and their context: settings, pipeline and cluster, loaded on first use."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload

from confluent_kafka.admin import AdminClient, ClusterMetadata

from stream_app.errors import ModelError, StreamAppError
from stream_app.kafka.clients import bootstrap_servers, cluster_topics, make_admin
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.topics import TopicSpec, topic_specs
from stream_app.loading import load_pipeline
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Pipeline, ingested_topics
from stream_app.settings import Settings, load_settings
from stream_app.status.cluster_view import ConsumerGroup
from stream_app.status.pipeline_view import PipelineView
from stream_app.status.record_counts_reading import PartitionCounts

T = TypeVar("T")
Level = Literal["ok", "skipped", "warning", "problem"]
"""A `skipped` result gives the reason in its message; a `warning` needs somebody's judgement."""

LIMIT_SECONDS = 20.0


class UnavailableError(Exception):
    """A value that a check needs is not available.

    The first check that meets it reports the error, later ones are skipped.

    Attributes:
        name: the missing value, for the report.
        error: the reason, None if the command line did not name the value.
        reported: True once a check has reported the error.
    """

    def __init__(self, name: str, error: StreamAppError | None) -> None:
        super().__init__(name)
        self.name = name
        self.error = error
        self.reported = False


class NoModelError(ModelError):
    """No model version is published, which is normal for a new pipeline."""


class SharedValue(Generic[T]):
    """Property of a `DoctorContext` that is computed once.

    Raises `UnavailableError` with the same error at each access if the computation failed.
    """

    def __init__(self, name: str, make: Callable[["DoctorContext"], T]) -> None:
        self._name = name
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, context: None, owner: type) -> "SharedValue[T]": ...
    @overload
    def __get__(self, context: "DoctorContext", owner: type) -> T: ...
    def __get__(self, context: "DoctorContext | None", owner: type) -> "T | SharedValue[T]":
        if context is None:
            return self
        values, key = context.values, self._make.__name__
        if key not in values:
            try:
                values[key] = self._make(context)
            except StreamAppError as error:
                values[key] = UnavailableError(self._name, error)
        value = values[key]
        if isinstance(value, UnavailableError):
            raise value
        return value  # type: ignore[no-any-return]


def shared(name: str) -> Callable[[Callable[["DoctorContext"], T]], SharedValue[T]]:
    """Turn a method into a `SharedValue`; a skipped check says that it needs `name`."""

    def decorate(make: Callable[["DoctorContext"], T]) -> SharedValue[T]:
        return SharedValue(name, make)

    return decorate


class DoctorContext:
    """Settings, cluster and pipeline that the checks examine.

    Args:
        spec: the pipeline as on the command line, None to check only what all pipelines need.

    Attributes:
        values: values computed so far, by name; an `UnavailableError` stands for a failed one.
    """

    def __init__(self, spec: str | None) -> None:
        self.values: dict[str, Any] = {}
        if spec is None:
            self.values["pipeline"] = UnavailableError("a PIPELINE", None)
        self._spec = spec or ""

    def reset(self) -> None:
        """Forget all values except failures, because a check that hangs may still use them."""
        self.values = {
            name: value
            for name, value in self.values.items()
            if isinstance(value, UnavailableError)
        }

    @shared("the settings")
    def settings(self) -> Settings:
        """Settings of this machine."""
        return load_settings()

    @shared("the pipeline")
    def pipeline(self) -> Pipeline:
        """The loaded pipeline."""
        return load_pipeline(self._spec)

    @shared("the cluster")
    def servers(self) -> str:
        """Bootstrap servers of the cluster."""
        return bootstrap_servers(self.settings)

    @shared("the cluster")
    def admin(self) -> AdminClient:
        """Admin client that has reached the cluster."""
        return make_admin(self.settings)

    @shared("the list of topics")
    def metadata(self) -> ClusterMetadata:
        """Brokers and topics of the cluster."""
        return cluster_topics(self.admin)

    @shared("the pipeline's topics")
    def specs(self) -> tuple[TopicSpec, ...]:
        """Topics that the pipeline needs."""
        sources = bool(ingested_topics(self.pipeline))
        return topic_specs(self.pipeline.name, self.settings, sources)

    @shared("the cluster")
    def view(self) -> PipelineView:
        """View of the pipeline's topics and consumer groups."""
        return PipelineView(self.settings, self.pipeline.name, self.admin)

    @shared("the offsets of the topics")
    def offset_bounds(self) -> OffsetBounds:
        """Beginning and end offsets of the pipeline's topics that exist."""
        return self.view.offset_bounds()

    @shared("the record counts")
    def record_counts(self) -> Mapping[int, PartitionCounts]:
        """Record counts of the scorers by partition, empty before their first transaction."""
        return self.view.record_counts(self.offset_bounds)

    @shared("the consumer groups")
    def groups(self) -> Mapping[str, ConsumerGroup]:
        """Consumer groups by role."""
        return self.view.groups()

    @shared("a model version")
    def manifest(self) -> Manifest:
        """Manifest of the served version."""
        found = self.view.served_manifest(self.offset_bounds)
        if found is None:
            raise NoModelError("no model version has been published yet", "Start the learner")
        return found

    def close(self) -> None:
        """Close the connections."""
        view = self.values.get("view")
        if isinstance(view, PipelineView):
            view.close()


class CheckResult(NamedTuple):
    """One result of a check."""

    level: Level
    message: str
    remedy: str = ""


CheckFunction = Callable[[DoctorContext], Iterable[CheckResult]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check with the area under which its results are listed, and its time limit in seconds."""

    area: str
    run: CheckFunction
    limit: float = LIMIT_SECONDS


@dataclass(frozen=True, slots=True)
class ReportedResult:
    """A result with its area, as printed and as JSON."""

    area: str
    level: Level
    message: str
    remedy: str


def ok(message: str) -> CheckResult:
    """Return a result for something that is as it must be."""
    return CheckResult("ok", message)


def skipped(message: str, remedy: str = "") -> CheckResult:
    """Return a result for something that was not checked; the message gives the reason."""
    return CheckResult("skipped", message, remedy)


def warning(message: str, remedy: str) -> CheckResult:
    """Return a result for something that works, but may fail later or behave unexpectedly."""
    return CheckResult("warning", message, remedy)


def problem(message: str, remedy: str) -> CheckResult:
    """Return a result for something that does not work or loses data."""
    return CheckResult("problem", message, remedy)


def from_error(error: StreamAppError) -> CheckResult:
    """Return the problem that an error describes."""
    return problem(error.message, error.remedy)
