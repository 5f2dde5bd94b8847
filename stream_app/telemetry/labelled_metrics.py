"""Metrics of a process with labels that are the same for all of them, such as the pipeline.

The labels are added when the metrics are read, so that the code that counts records does not look
them up.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class LabelledMetrics(Collector):
    """Collector of the metrics of another registry, with more labels.

    Args:
        registry: source of the metrics.
        labels: labels of each series that does not have them itself.
    """

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._registry = registry
        self._labels = dict(labels)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the other registry has checked the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        for metric in self._registry.collect():
            labelled = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            labelled.samples = [
                sample._replace(labels={**self._labels, **sample.labels})
                for sample in metric.samples
            ]
            yield labelled


def labelled_registry(
    labels: Mapping[str, str], registry: CollectorRegistry = REGISTRY
) -> CollectorRegistry:
    """Return a registry with the metrics of another one, each with these labels."""
    found = CollectorRegistry()
    found.register(LabelledMetrics(registry, labels))
    return found
