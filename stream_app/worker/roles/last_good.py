"""Which version stands in for one that fails: the last that has served this partition well."""

from collections.abc import Callable

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.predictor import Model
from stream_app.errors import StreamAppError
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)


class LastGood:
    """Notes in `state` which version serves well, so that whoever takes the partition over knows it too.

    `before` gives the version that was served before, for as long as none has served well; `load` gives any version, or
    raises a `StreamAppError`.
    """

    def __init__(
        self,
        state: PartitionState,
        before: Callable[[], Model | None],
        load: Callable[[int], Model],
    ) -> None:
        self._state = state
        self._before = before
        self._load = load
        self._good: Model | None = None
        self._earlier: Model | None = None

    def restore(self) -> None:
        """Load the version that the state names; may block."""
        version = self._state.good_version
        if version is None:
            return
        try:
            self._good = self._load(version)
        except StreamAppError as error:
            log.warning("the last good version does not load", version=version, why=str(error))

    def worked(self, model: Model) -> None:
        """This version has scored events, and failed for none of them."""
        if self._good is None or model.version != self._good.version:
            self._earlier, self._good = self._good, model
            self._state.good_version = model.version

    def instead_of(self, model: Model) -> Model | None:
        """The version to ask now that this one has failed."""
        for other in (self._good, self._earlier, self._before()):
            if other is not None and other.version != model.version:
                return other
        return None
