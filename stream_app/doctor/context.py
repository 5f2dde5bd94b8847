"""What the checks look at, made when the first of them asks for it."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload

from confluent_kafka.admin import AdminClient, ClusterMetadata

from stream_app.errors import ModelError, StreamAppError
from stream_app.kafka.clients import bootstrap_servers, cluster_topics, make_admin
from stream_app.kafka.offsets import Limits
from stream_app.kafka.topics import TopicSpec, topic_specs
from stream_app.loading import load_pipeline
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings, load_settings
from stream_app.status.cluster_view import ConsumerGroup
from stream_app.status.pipeline_view import PipelineView
from stream_app.status.record_counts_reading import PartitionCounts

T = TypeVar("T")


class UnavailableError(Exception):
    """Something that a check needs is not there; `error` says why, None if nobody asked for it.

    The first check that meets it reports the error, the others are skipped.
    """

    def __init__(self, what: str, error: StreamAppError | None) -> None:
        super().__init__(what)
        self.what = what
        self.error = error
        self.reported = False


class shared(Generic[T]):  # noqa: N801 - used like `property`
    """A property that is computed once, and fails once: with an `UnavailableError` that says `what` is not there."""

    def __init__(self, make: Callable[["DoctorContext"], T]) -> None:
        self._make = make
        what = (make.__doc__ or "").split(";")[0].rstrip(".")
        self._what = what[:1].lower() + what[1:]

    @overload
    def __get__(self, examined: None, owner: type) -> "shared[T]": ...
    @overload
    def __get__(self, examined: "DoctorContext", owner: type) -> T: ...
    def __get__(self, examined: "DoctorContext | None", owner: type) -> "T | shared[T]":
        if examined is None:
            return self
        known = examined.known
        if self._make.__name__ not in known:
            try:
                known[self._make.__name__] = self._make(examined)
            except StreamAppError as error:
                known[self._make.__name__] = UnavailableError(self._what, error)
        value = known[self._make.__name__]
        if isinstance(value, UnavailableError):
            raise value
        return value  # type: ignore[no-any-return]


class DoctorContext:
    """Settings, cluster and perhaps a pipeline; `spec` is the pipeline as on the command line, None without one."""

    def __init__(self, spec: str | None) -> None:
        self.known: dict[str, Any] = {}
        if spec is None:
            self.known["pipeline"] = UnavailableError("a PIPELINE", None)
        self._spec = spec or ""

    def forget(self) -> None:
        """Make everything anew, for a check that hangs may still be using it; what is not there stays so."""
        self.known = {
            name: value for name, value in self.known.items() if isinstance(value, UnavailableError)
        }

    @shared
    def settings(self) -> Settings:
        """The settings."""
        return load_settings()

    @shared
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return load_pipeline(self._spec)

    @shared
    def servers(self) -> str:
        """The cluster; its address."""
        return bootstrap_servers(self.settings)

    @shared
    def admin(self) -> AdminClient:
        """The cluster; an admin client that has had an answer."""
        return make_admin(self.settings)

    @shared
    def metadata(self) -> ClusterMetadata:
        """The list of topics; of the whole cluster."""
        return cluster_topics(self.admin)

    @shared
    def specs(self) -> tuple[TopicSpec, ...]:
        """The pipeline's topics; as they have to be."""
        return topic_specs(self.pipeline.name, self.settings)

    @shared
    def view(self) -> PipelineView:
        """The cluster; seen with the eyes of `status`."""
        return PipelineView(self.settings, self.pipeline.name, self.admin)

    @shared
    def limits(self) -> Limits:
        """Where the topics end; of those of the pipeline that exist."""
        return self.view.limits()

    @shared
    def sheets(self) -> Mapping[int, PartitionCounts]:
        """The scorers' books; none before they have run."""
        return self.view.sheets(self.limits)

    @shared
    def groups(self) -> Mapping[str, ConsumerGroup]:
        """The consumer groups; by role."""
        return self.view.groups()

    @shared
    def manifest(self) -> Manifest:
        """A model version; the one that is served."""
        found = self.view.served(self.limits)
        if found is None:
            raise NoModelError("no model version has been published yet", "Start the learner")
        return found

    def close(self) -> None:
        """Let the cluster go."""
        view = self.known.get("view")
        if isinstance(view, PipelineView):
            view.close()


class NoModelError(ModelError):
    """A new pipeline has none, which is no fault."""
