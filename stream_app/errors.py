"""Expected failures of commands, each with its exit code.

Failures of records are in `error_codes`.
"""

from typing import ClassVar


class StreamAppError(Exception):
    """Expected failure of a command.

    Args:
        message: cause, without a full stop at the end.
        remedy: instruction for the user, without a full stop at the end.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}"


class SettingsError(StreamAppError):
    """A setting has an invalid value."""

    exit_code = 3


class PipelineError(StreamAppError):
    """The pipeline file is missing, cannot be loaded, or contains an invalid declaration."""

    exit_code = 4


class KafkaUnavailableError(StreamAppError):
    """The Kafka cluster cannot be reached."""

    exit_code = 5


class TopicsError(StreamAppError):
    """A topic is missing, or its configuration does not fit the pipeline."""

    exit_code = 6


class ModelError(StreamAppError):
    """A model version is missing, damaged, or belongs to another pipeline."""

    exit_code = 7


class IncompatibleModelError(ModelError):
    """A valid model version needs another pipeline declaration, Python or River version."""


class FencedError(StreamAppError):
    """Another process has taken over the work of this one."""

    exit_code = 8


class DataLossError(StreamAppError):
    """Unprocessed records were deleted from a topic, and an operator has to decide what to do."""

    exit_code = 9


class BrokerError(StreamAppError):
    """The embedded broker cannot be fetched, started or stopped."""

    exit_code = 10


class InputError(StreamAppError):
    """An input file is missing or cannot be read."""

    exit_code = 11


class VerificationError(StreamAppError):
    """A run finished, but events were lost or duplicated."""

    exit_code = 12


class AccessError(StreamAppError):
    """The cluster denies access: wrong password, invalid certificate, or missing permission."""

    exit_code = 13


class RegistryError(StreamAppError):
    """The schema registry cannot be reached, or a schema is missing or incompatible."""

    exit_code = 14


class UnhealthyError(StreamAppError):
    """`doctor` or `status --check` found a problem."""

    exit_code = 15


class StoreError(StreamAppError):
    """The artifact store cannot be read or written."""

    exit_code = 16


class OutputError(StreamAppError):
    """A file cannot be written, or already exists."""

    exit_code = 17


class SelectionError(StreamAppError):
    """A selection of records is invalid, or matches no record."""

    exit_code = 18


class ReplayError(StreamAppError):
    """A replay is rejected or stopped: records would fail again, or no worker would score them."""

    exit_code = 19


class DecisionError(StreamAppError):
    """A decision about a model or alarm is rejected: no effect, or a version fails its check."""

    exit_code = 20
