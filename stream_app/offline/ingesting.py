"""Ingest in memory: records of a source as `ingest` would forward them."""

from typing import NamedTuple

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.direct_reading import DirectIntake
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.selection import Forwarded, SourceIntake
from stream_app.errors import InputError
from stream_app.kafka.partitioner import partitioner_of
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Record
from stream_app.sources import Source
from stream_app.topic_kinds import topic_name


class Ingested(NamedTuple):
    """Record of a source, and what `ingest` would do with it.

    Attributes:
        record: the record as forwarded; the record of the source itself if it is not forwarded.
        result: outcome of a record that is left out, failure of a dead letter of `ingest`, or None
            for a forwarded record.
    """

    record: Record
    result: Skipped | Failure | None = None


class OfflineIngest:
    """Forwards records of one source of a pipeline.

    Args:
        pipeline: loaded pipeline.
        name: name of the source.
        labels: True for a source of labels.
        partitions: number of partitions of a topic that is read directly, whose records have the
            key and the partition that they have there; 0 for records of a sample or a test, which
            may lack the key.

    Raises:
        InputError: the pipeline declares no such source.
    """

    def __init__(self, pipeline: Pipeline, name: str, *, labels: bool, partitions: int = 0) -> None:
        self.source = find_source(pipeline, name, labels=labels)
        self._intake = SourceIntake(pipeline, self.source, label=labels)
        self._is_sample = not partitions
        placement = partitioner_of(pipeline).placement(lambda: partitions)
        self._direct = (
            DirectIntake(pipeline, placement if partitions else None)
            if self.source.direct
            else None
        )
        self._topic = topic_name(pipeline.name, "labels" if labels else "raw")

    def ingest(
        self,
        record: Record,
        offset: int,
        schemas: Schemas = NO_SCHEMAS,
        *,
        derives_key: bool = True,
    ) -> Ingested:
        """Return a record as forwarded with an offset in the pipeline's topic.

        Args:
            record: record of the source.
            offset: the offset there.
            schemas: writer schemas that Avro records refer to.
            derives_key: True to give a record of a sample the key that it lacks.
        """
        if self._direct is not None:
            if record.key is None and self._is_sample and derives_key:
                found = self._intake.read(record, schemas)
                record = record._replace(key=found.key if isinstance(found, Forwarded) else None)
            return self._read_directly(self._direct, record, offset, schemas)
        result = self._intake.read(record, schemas)
        if not isinstance(result, Forwarded):
            return Ingested(record, result)
        forwarded = Record(
            self._topic, 0, offset, record.timestamp, result.key, record.value, result.headers
        )
        return Ingested(forwarded)

    def _read_directly(
        self, direct: DirectIntake, record: Record, offset: int, schemas: Schemas
    ) -> Ingested:
        """Return a record as the scorer's reader takes it, and perhaps its outcome."""
        sent, result = direct.read(record._replace(topic=direct.topic), schemas)
        if result is not None:
            return Ingested(record, result)
        return Ingested(sent._replace(topic=self._topic, partition=0, offset=offset))


def find_source(pipeline: Pipeline, name: str, *, labels: bool) -> Source:
    """Return the source of events, or of labels, of a name.

    Raises:
        InputError: the pipeline declares no such source.
    """
    kind, sources = ("labels", pipeline.label.sources) if labels else ("events", pipeline.sources)
    found = {source.source_name: source for source in sources}
    if name not in found:
        known = f"Choose from {', '.join(found)}" if found else "Declare it as a Source(...)"
        raise InputError(f"{pipeline.name} has no source of {kind} with the name {name}", known)
    return found[name]
