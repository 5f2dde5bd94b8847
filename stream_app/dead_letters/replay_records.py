"""Records that a replay sends: their topics, partitions and headers, and the user's edits."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self

from stream_app import headers as names
from stream_app.core.reading.record_identity import IdentityReader
from stream_app.dead_letters.dead_letter_reader import DeadLetter
from stream_app.dead_letters.ledger import Operation
from stream_app.errors import PipelineError, SelectionError
from stream_app.kafka.partitioner import PARTITIONERS, Partitioner, partitioner_of
from stream_app.loading import load_file
from stream_app.pipeline import Pipeline, direct_source
from stream_app.records import Output
from stream_app.topic_kinds import DEAD_LETTER_KINDS, DeadLetterKind, InputKind, TopicKind

REPLAY_TOPICS: dict[DeadLetterKind, TopicKind] = {"raw.dlq": "raw.replay", "labels.dlq": "labels"}
"""Topics to which dead letters are sent by default."""

SOURCE_TOPICS: dict[DeadLetterKind, TopicKind] = {"raw.dlq": "raw", "labels.dlq": "labels"}
"""Topics to which dead letters are sent with `--to source`."""

INGEST_TOPIC: TopicKind = "ingest.replay"
"""Topic to which dead letters of `ingest` are sent; it forwards them."""

INPUTS: dict[DeadLetterKind, InputKind] = {"raw.dlq": "raw", "labels.dlq": "labels"}
"""Inputs that the records of dead letters belong to."""


class EditFailure(NamedTuple):
    """Failure of an edit function: its reason, e.g. "KeyError", and its location: "fix.py:7"."""

    reason: str
    location: str


class EditedRecord(NamedTuple):
    """Key and value with which a dead letter is sent."""

    key: bytes | None
    value: bytes | None


EditFunction = Callable[[DeadLetter], bytes | EditFailure | None]
"""Returns the new value of a dead letter, None to skip it, or a failure. Never raises."""


class LoadedEdit(NamedTuple):
    """Edit function, and the SHA-256 of its file with its name; both empty without an edit."""

    function: EditFunction | None
    digest: str


def load_optional_edit(spec: str | None) -> LoadedEdit:
    """Return the edit that `FILE:function` names, if any; raises as `load_edit`."""
    if spec is None:
        return LoadedEdit(None, "")
    function = load_edit(spec)
    file, _, name = spec.rpartition(":")
    return LoadedEdit(function, f"{sha256(Path(file).read_bytes()).hexdigest()}:{name}")


def load_edit(spec: str) -> EditFunction:
    """Return the function that `FILE:function` names.

    The user's function takes a `DeadLetter` and returns the new value as bytes, or None.

    Raises:
        SelectionError: `spec` names no function, or the file does not define it.
        PipelineError: the file cannot be loaded.
    """
    target, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier() or not target.endswith(".py"):
        raise SelectionError(
            f"--edit {spec} names no function", "Give FILE:function, e.g. fix.py:edit"
        )
    try:
        module = load_file(Path(target))
    except PipelineError as error:
        raise PipelineError(f"--edit: {error.message}", error.remedy) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise SelectionError(
            f"--edit: {target} has no function {name}", f"Define {name}(dead_letter) in the file"
        )
    file = Path(target).resolve()
    return lambda dead_letter: _call(function, dead_letter, file)


def _call(
    function: Callable[[DeadLetter], Any], dead_letter: DeadLetter, file: Path
) -> bytes | EditFailure | None:
    # The function is the user's code and may raise anything, including SystemExit.
    try:
        value = function(dead_letter)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(file)]
        location = f"{file.name}:{lines[-1]}" if lines else file.name
        return EditFailure(type(error).__name__, location)
    if value is None or isinstance(value, bytes):
        return value
    return EditFailure(f"it returned {type(value).__name__}, not bytes or None", file.name)


class RecordEditor:
    """Applies an optional edit function to dead letters of a pipeline."""

    def __init__(self, pipeline: Pipeline, edit: EditFunction | None) -> None:
        self._edit = edit
        self._identities = {
            kind: IdentityReader(pipeline, label=kind == "labels.dlq") for kind in DEAD_LETTER_KINDS
        }

    def __call__(self, dead_letter: DeadLetter) -> EditedRecord | EditFailure | None:
        """Return the edited record, or None if the edit function skips the dead letter.

        With an edit function, the key becomes that of the new value if it has one. A wrong key can
        therefore be corrected. A dead letter of `ingest` keeps the key of its source: `ingest`
        finds the key of the pipeline.
        """
        if self._edit is None:
            return EditedRecord(dead_letter.key, dead_letter.value)
        value = self._edit(dead_letter)
        if value is None or isinstance(value, EditFailure):
            return value
        if dead_letter.is_of_ingest:
            return EditedRecord(dead_letter.key, value)
        # Without the old key, so that only the value counts.
        record = dead_letter.original_record()._replace(key=None, value=value)
        key = self._identities[dead_letter.ref.kind].read(record, dead_letter.schemas).key
        return EditedRecord(dead_letter.key if key is None else key.encode(), value)


class ReplayRoute(NamedTuple):
    """Destination and options of the records of one replay.

    Attributes:
        replay_id: id of the replay.
        to_source: True to send to the source topics instead of those for replays.
        learn: False if the events must not become examples.
        model: version to score with, None for the served one.
        partitions: number of partitions of the topics.
        partitioner: partitioner of the pipeline.
        is_direct: True if the pipeline has a direct source, whose events may be misplaced.
    """

    replay_id: str
    to_source: bool
    learn: bool
    model: int | None
    partitions: int
    partitioner: Partitioner = PARTITIONERS["murmur2"]
    is_direct: bool = False

    @classmethod
    def of(
        cls, pipeline: Pipeline, replay_id: str, options: Mapping[str, Any], partitions: int
    ) -> Self:
        """Return the route of a replay.

        Args:
            options: options of `ReplayRequest`.
            partitions: number of partitions of the topics.
        """
        return cls(
            replay_id,
            options["to"] == "source",
            options["learn"],
            options["model"],
            partitions,
            partitioner_of(pipeline),
            direct_source(pipeline) is not None,
        )

    def topics(self, dead_letter: DeadLetter) -> tuple[TopicKind, ...]:
        """Return the kinds of the topics through which a record goes: where it is sent first."""
        kind = dead_letter.ref.kind
        if not dead_letter.is_of_ingest:
            return ((SOURCE_TOPICS if self.to_source else REPLAY_TOPICS)[kind],)
        # Where `ingest` forwards it to.
        with_options = kind == "raw.dlq" and (not self.learn or self.model is not None)
        return INGEST_TOPIC, "raw.replay" if with_options else INPUTS[kind]

    def output(self, dead_letter: DeadLetter, edited: EditedRecord) -> Output:
        """Return the record to send.

        An unchanged key keeps the partition, whatever partitioner the producer used: if the event
        was scored in the meantime, that partition's scorer knows it. A changed key determines the
        partition, and so does each key of an event where the scorers check it. Records for `ingest`
        are in the partition of their dead letter.
        """
        ref, key = dead_letter.ref, edited.key
        is_checked = self.is_direct and ref.kind == "raw.dlq"
        if not key or dead_letter.is_of_ingest or (key == dead_letter.key and not is_checked):
            partition = ref.partition
        else:
            partition = self.partitioner.place(key, self.partitions)
        texts = dead_letter.header_texts
        headers = [
            *dead_letter.original_headers,
            *((name, texts[name].encode()) for name in names.REPLAYED_HEADERS if name in texts),
            (names.REPLAY_ID, self.replay_id.encode()),
            (names.REPLAY_COUNT, str(replay_count(dead_letter) + 1).encode()),
        ]
        if not self.learn:
            headers.append((names.REPLAY_LEARN, b"no"))
        if self.model is not None:
            headers.append((names.REPLAY_MODEL, str(self.model).encode()))
        if dead_letter.is_of_ingest:
            headers.append((names.REPLAY_INPUT, INPUTS[ref.kind].encode()))
        topic = self.topics(dead_letter)[0]
        return Output(topic, partition, key, edited.value, tuple(headers))


def replay_count(dead_letter: DeadLetter) -> int:
    """Return the number of times that the record has been replayed."""
    text = dead_letter.header_texts.get(names.REPLAY_COUNT, "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def replay_topics(operation: Operation) -> Sequence[TopicKind]:
    """Return the kinds of the topics through which the records of a replay go."""
    found: Sequence[TopicKind] = operation.options.get("topics", ())
    return found
