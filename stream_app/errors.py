"""What can go wrong with a command, by name; what can go wrong with a record is in `error_codes`."""

from typing import ClassVar


class StreamAppError(Exception):
    """An expected failure of a command: one line that says what happened, one that says what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}"


class SettingsError(StreamAppError):
    """A setting has a wrong value."""

    exit_code = 3


class PipelineError(StreamAppError):
    """The pipeline file is missing, does not load, or declares something that cannot work."""

    exit_code = 4


class KafkaUnavailableError(StreamAppError):
    """The cluster cannot be reached."""

    exit_code = 5


class TopicsError(StreamAppError):
    """A topic is missing or not as the pipeline needs it."""

    exit_code = 6


class ModelError(StreamAppError):
    """A model version is missing, damaged, or not of this pipeline."""

    exit_code = 7


class UnfitModelError(ModelError):
    """A model version is as it should be, but of another declaration, Python or River than this process has."""


class FencedError(StreamAppError):
    """Another process owns what this one was working on."""

    exit_code = 8


class DataLossError(StreamAppError):
    """Records that were not yet processed are gone from a topic; only a person can decide how to go on."""

    exit_code = 9


class BrokerError(StreamAppError):
    """The embedded broker cannot be fetched, started or stopped."""

    exit_code = 10


class InputError(StreamAppError):
    """An input file is missing or cannot be read."""

    exit_code = 11


class VerificationError(StreamAppError):
    """A run finished, but its books do not balance."""

    exit_code = 12


class AccessError(StreamAppError):
    """The cluster refuses us: a wrong password, a bad certificate, or a right that is missing."""

    exit_code = 13


class RegistryError(StreamAppError):
    """The schema registry cannot be reached, or a schema is missing there or not compatible."""

    exit_code = 14


class UnhealthyError(StreamAppError):
    """`doctor` or `status --check` found a problem."""

    exit_code = 15


class StoreError(StreamAppError):
    """The artifact store cannot be read or written."""

    exit_code = 16


class OutputError(StreamAppError):
    """A file cannot be written, or is there already."""

    exit_code = 17


class SelectionError(StreamAppError):
    """A selection of records cannot be understood, or nothing fits it."""

    exit_code = 18


class ReplayError(StreamAppError):
    """Dead letters are not sent, or no more of them: they would fail again, or nobody would score them."""

    exit_code = 19


class DecisionError(StreamAppError):
    """A decision about a model is not taken: it would change nothing, or the version fails its check."""

    exit_code = 20
