"""What becomes of a record, for tests to look at."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any, Literal

from stream_app.core.example import Example
from stream_app.error_codes import ERROR_CODES
from stream_app.headers import (
    ERROR_CODE,
    ERROR_FINGERPRINT,
    ERROR_MESSAGE,
    ERROR_STACKTRACE,
    ERROR_STAGE,
    ORIGINAL_OFFSET,
    ORIGINAL_TOPIC,
)
from stream_app.records import Features, Headers, Output, Target

_OURS = re.compile(
    r'  File "[^"]*[/\\]stream_app[/\\]core[/\\]'
)  # a frame of the code that calls the user's


@dataclass(frozen=True, slots=True)
class DeadLetterOutcome:
    """A record that failed: `topic` is "raw.dlq" or "labels.dlq"; key, value and headers as they would be there."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @classmethod
    def of(cls, output: Output) -> "DeadLetterOutcome":
        """From what the scorer wants to write."""
        return cls(output.topic, output.key, output.value, output.headers)

    @property
    def code(self) -> str:
        """One of `stream_app.error_codes.ERROR_CODES`."""
        return self._header(ERROR_CODE)

    @property
    def stage(self) -> str:
        """Where it failed, as "validate"."""
        return self._header(ERROR_STAGE)

    @property
    def message(self) -> str:
        """What was wrong; names fields and types, never values."""
        return self._header(ERROR_MESSAGE)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return ERROR_CODES[self.code].remedy

    @property
    def where(self) -> str | None:
        """The place of an exception in the user's code or below it, as "orders.py:31"; None if there was none."""
        places = re.findall(r'File "([^"]+)", line (\d+)', self._header(ERROR_STACKTRACE))
        return (
            "{}:{}".format(re.split(r"[/\\]", places[-1][0])[-1], places[-1][1]) if places else None
        )

    @property
    def stack(self) -> str:
        """The stack trace of an exception from your code on, without the exception's text; empty if there was none."""
        frames = re.split(r'^(?=  File ")', self._header(ERROR_STACKTRACE), flags=re.MULTILINE)
        yours = dropwhile(lambda frame: not frame or _OURS.match(frame), frames)
        return textwrap.dedent("".join(yours))

    @property
    def fingerprint(self) -> str:
        """One for all failures of one cause."""
        return self._header(ERROR_FINGERPRINT)

    @property
    def origin(self) -> tuple[str, int]:
        """Topic and offset of the record."""
        return self._header(ORIGINAL_TOPIC), int(self._header(ORIGINAL_OFFSET))

    def _header(self, name: str) -> str:
        return next(
            ((content or b"").decode() for header, content in self.headers if header == name), ""
        )


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """What became of an event; the parts that do not apply are None.

    `record` is the scored record's content as in `schemas/scored.avsc`, `features` is what the model saw. One that is
    "retrying" failed for a reason outside, and is tried again as time passes.
    """

    kind: Literal["scored", "dead-lettered", "duplicate", "retrying"]
    record: Mapping[str, Any] | None = None
    features: Features | None = None
    dead_letter: DeadLetterOutcome | None = None

    @property
    def score(self) -> float | None:
        """Probability that the label will be true, or of the predicted class, or the predicted number."""
        return None if self.record is None else float(self.record["score"])

    @property
    def prediction(self) -> Target | None:
        """Whether the score reaches the decision threshold, or the likeliest class, or the predicted number."""
        return None if self.record is None else self.record["prediction"]

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """Of each class that the model knows, where the label is a class."""
        return None if self.record is None else self.record["probabilities"]

    @property
    def model_version(self) -> int | None:
        """Which version made the score."""
        return None if self.record is None else int(self.record["model"]["version"])

    @property
    def imputed(self) -> tuple[str, ...]:
        """Fields whose value was invented."""
        return () if self.record is None else tuple(self.record["imputed"])

    @property
    def error_code(self) -> str | None:
        """Code of the failure."""
        return None if self.dead_letter is None else self.dead_letter.code

    @property
    def error_message(self) -> str | None:
        """What was wrong."""
        return None if self.dead_letter is None else self.dead_letter.message


@dataclass(frozen=True, slots=True)
class LabelOutcome:
    """What became of a label when it came; one that is "waiting" is joined when its event comes, or ends later.

    `example` is what the model learned from it.
    """

    kind: Literal["joined", "waiting", "duplicate", "expired", "dead-lettered"]
    example: Example | None = None
    dead_letter: DeadLetterOutcome | None = None

    @property
    def error_code(self) -> str | None:
        """Code of the failure."""
        return None if self.dead_letter is None else self.dead_letter.code

    @property
    def error_message(self) -> str | None:
        """What was wrong."""
        return None if self.dead_letter is None else self.dead_letter.message
