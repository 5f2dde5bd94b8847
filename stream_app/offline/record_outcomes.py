"""Outcomes of records: scored or joined, dead-lettered, duplicate, waiting."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import dropwhile
from typing import Literal

from stream_app.core.examples import Example
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.envelopes import Skipped
from stream_app.error_codes import ERROR_CODES
from stream_app.headers import (
    ERROR_CODE,
    ERROR_FINGERPRINT,
    ERROR_MESSAGE,
    ERROR_STACKTRACE,
    ERROR_STAGE,
    ORIGINAL_OFFSET,
    ORIGINAL_TOPIC,
    own_header_texts,
)
from stream_app.records import Features, Fields, Headers, Output, Target

# Stack frame of the code that calls the user's functions.
_CORE_FRAME = re.compile(r'  File "[^"]*[/\\]stream_app[/\\]core[/\\]')


@dataclass(frozen=True, slots=True)
class DeadLetterOutcome:
    """Dead letter as it would be written.

    Attributes:
        topic: "raw.dlq" or "labels.dlq".
        key: key of the dead letter.
        value: value of the failed record.
        headers: headers of the dead letter, see docs/reference/errors.md.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, output: Output) -> "DeadLetterOutcome":
        """Return the outcome for an output of the scorer."""
        return cls(output.topic, output.key, output.value, output.headers)

    @property
    def code(self) -> str:
        """Error code, one of `stream_app.error_codes.ERROR_CODES`."""
        return self._header(ERROR_CODE)

    @property
    def stage(self) -> str:
        """Stage that failed, for example "validate"."""
        return self._header(ERROR_STAGE)

    @property
    def message(self) -> str:
        """Error message; it names fields and types, never values."""
        return self._header(ERROR_MESSAGE)

    @property
    def remedy(self) -> str:
        """Remedy for the error code."""
        return ERROR_CODES[self.code].remedy

    @property
    def where(self) -> str | None:
        """Place where an exception was raised, for example "orders.py:31"; None without one."""
        places = re.findall(r'File "([^"]+)", line (\d+)', self._header(ERROR_STACKTRACE))
        return (
            "{}:{}".format(re.split(r"[/\\]", places[-1][0])[-1], places[-1][1]) if places else None
        )

    @property
    def stack(self) -> str:
        """Stack trace of an exception from the user's code on, without its text; may be empty."""
        frames = re.split(r'^(?=  File ")', self._header(ERROR_STACKTRACE), flags=re.MULTILINE)
        own = dropwhile(lambda frame: not frame or _CORE_FRAME.match(frame), frames)
        return textwrap.dedent("".join(own))

    @property
    def fingerprint(self) -> str:
        """Fingerprint, equal for all failures with the same cause."""
        return self._header(ERROR_FINGERPRINT)

    @property
    def origin(self) -> tuple[str, int]:
        """Topic and offset of the failed record."""
        return self._header(ORIGINAL_TOPIC), int(self._header(ORIGINAL_OFFSET))

    def _header(self, name: str) -> str:
        return own_header_texts(self.headers).get(name, "")


class Outcome:
    """Base of outcomes; `dead_letter` is None unless the record failed."""

    __slots__ = ()
    dead_letter: DeadLetterOutcome | None

    @property
    def error_code(self) -> str | None:
        """Error code of the dead letter."""
        return None if self.dead_letter is None else self.dead_letter.code

    @property
    def error_message(self) -> str | None:
        """Error message of the dead letter."""
        return None if self.dead_letter is None else self.dead_letter.message


@dataclass(frozen=True, slots=True)
class EventOutcome(Outcome):
    """Outcome of an event; attributes that do not apply are None.

    Attributes:
        kind: "retrying" is an event with a transient failure, which is retried as time passes;
            "filtered" and "tombstone" are records of a source that are not forwarded.
        record: scored record, in the form of `schemas/scored.avsc`.
        features: features that the model got.
        dead_letter: the dead letter of an event that failed.
    """

    kind: Literal["scored", "dead-lettered", "duplicate", "retrying"] | Skipped
    record: ScoredRecord | None = None
    features: Features | None = None
    dead_letter: DeadLetterOutcome | None = None

    @property
    def score(self) -> float | None:
        """Probability of a true label or of the predicted class, or the predicted value."""
        return None if self.record is None else float(self.record["score"])

    @property
    def prediction(self) -> Target | None:
        """Decision at the threshold, the most probable class, or the predicted value."""
        return None if self.record is None else self.record["prediction"]

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """Probability of each class that the model knows, for multiclass pipelines."""
        return None if self.record is None else self.record["probabilities"]

    @property
    def model_version(self) -> int | None:
        """Model version that made the score."""
        return None if self.record is None else int(self.record["model"]["version"])

    @property
    def imputed(self) -> tuple[str, ...]:
        """Fields whose value was imputed."""
        return () if self.record is None else tuple(self.record["imputed"])

    @property
    def fields(self) -> Fields | None:
        """Fields that `pass_through` names, before cleaning."""
        return None if self.record is None else self.record.get("fields")


@dataclass(frozen=True, slots=True)
class LabelOutcome(Outcome):
    """Outcome of a label when it arrives.

    Attributes:
        kind: "waiting" is a label without an event so far; it joins, or is dead-lettered, later.
        example: example that the model learned.
        dead_letter: the dead letter of a label that failed.
    """

    kind: (
        Literal["joined", "waiting", "duplicate", "expired", "contradicting", "dead-lettered"]
        | Skipped
    )
    example: Example | None = None
    dead_letter: DeadLetterOutcome | None = None
