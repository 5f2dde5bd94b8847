"""Reading dead letters: the bytes of those that were chosen, partition by partition."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from confluent_kafka import Consumer, Message

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef
from stream_app.kafka.clients import ConnectionErrors
from stream_app.kafka.topics import topic_name
from stream_app.transfer.consume import between

_GAP = 2000  # offsets; over less than that it is faster to read on than to begin anew
_RUN = 50_000  # letters; where reading begins anew, what was fetched ahead is lost


class DeadLetterReader:
    """The dead letters of a pipeline, read with a consumer that nothing else uses."""

    def __init__(
        self,
        consumer: Consumer,
        errors: ConnectionErrors,
        pipeline: str,
        schemas: Schemas = NO_SCHEMAS,
    ) -> None:
        self._consumer = consumer
        self._errors = errors
        self._pipeline = pipeline
        self._schemas = schemas

    def read(self, refs: Iterable[DeadLetterRef]) -> Iterator[DeadLetter]:
        """The letters in the order of `refs`; fast if that is the order in which `Index.select` gives them.

        Those that are no longer on their topic are left out. One iterator at a time. Raises `AccessError` if they may
        not be read, `KafkaUnavailableError` if the cluster is away for long.
        """
        for _, of_partition in groupby(refs, key=lambda ref: (ref.kind, ref.partition)):
            for run in _runs(of_partition):
                yield from self._read(run)

    def _read(self, run: list[DeadLetterRef]) -> Iterator[DeadLetter]:
        wanted = {ref.offset: ref for ref in run}
        place = topic_name(self._pipeline, run[0].kind), run[0].partition
        for batch in between(
            self._consumer, self._errors, {place: (run[0].offset, run[-1].offset + 1)}
        ):
            for message in batch:
                ref = wanted.get(message.offset() or 0)
                if ref is not None:
                    yield self._letter(ref, message)

    def _letter(self, ref: DeadLetterRef, message: Message) -> DeadLetter:
        _, timestamp = message.timestamp()
        headers = message.headers() or []
        return DeadLetter(ref, timestamp, message.key(), message.value(), headers, self._schemas)


def _runs(refs: Iterable[DeadLetterRef]) -> Iterator[list[DeadLetterRef]]:
    """The refs of one partition, cut where it is better to begin reading anew."""
    run: list[DeadLetterRef] = []
    for ref in refs:
        if run and (len(run) == _RUN or not 0 < ref.offset - run[-1].offset <= _GAP):
            yield run
            run = []
        run.append(ref)
    if run:
        yield run
