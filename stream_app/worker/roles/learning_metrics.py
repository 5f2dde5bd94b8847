"""Counts of a learner as Prometheus metrics."""

from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.learning.learning_rules import NOT_LEARNED_REASONS
from stream_app.telemetry.metrics import EXAMPLES_LEARNED, EXAMPLES_NOT_LEARNED

# Reason of examples that the model could not learn.
UNLEARNABLE = "unlearnable"


class ExportedLearning:
    """Counts of a learner, learned and not learned by reason, as metrics."""

    def __init__(self) -> None:
        self._learned = 0
        # Series start at 0, so that the first example is an increase.
        self._reasons = {
            reason: EXAMPLES_NOT_LEARNED.labels(reason)
            for reason in (*NOT_LEARNED_REASONS, UNLEARNABLE)
        }
        self._not_learned = dict.fromkeys(self._reasons, 0)

    def start(self, state: LearnerState) -> None:
        """Continue from a state whose counts were exported, or replaced by those of a version."""
        self._learned = state.learned.examples
        self._not_learned = self._counts(state)

    def update(self, state: LearnerState) -> None:
        """Export what a state has counted since the last call."""
        EXAMPLES_LEARNED.inc(state.learned.examples - self._learned)
        self._learned = state.learned.examples
        counts = self._counts(state)
        for reason, exported in self._not_learned.items():
            if counts[reason] > exported:
                self._reasons[reason].inc(counts[reason] - exported)
        self._not_learned = counts

    def _counts(self, state: LearnerState) -> dict[str, int]:
        counts: dict[str, int] = {
            reason: state.not_learned.get(reason, 0) for reason in NOT_LEARNED_REASONS
        }
        return {**counts, UNLEARNABLE: state.unlearnable}
