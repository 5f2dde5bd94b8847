"""The learner: judge what was served, watch the errors, then learn; a pure function of the examples log."""

from dataclasses import dataclass, field
from datetime import timedelta

from stream_app.core.control import SWITCHES, Control
from stream_app.core.drift import ErrorAlarm
from stream_app.core.evaluate import Closed, Evaluator, Report
from stream_app.core.example import Example
from stream_app.core.learned import Learned
from stream_app.core.monitoring import Judgement, Kind, Measurement, judge
from stream_app.core.obey import Obedience
from stream_app.core.records import Output
from stream_app.core.scorecard import BASELINES
from stream_app.pipeline import Pipeline

FORMER = "former versions"
"""What a performance is of whose predictions come from versions that a decision has led away from."""

SHAPE = 2
"""Of the state; one of another shape, as earlier releases left, cannot go on."""


@dataclass(slots=True, kw_only=True)
class LearnerState(Obedience):
    """All that a learner knows, and all that a checkpoint holds; see also `Obedience` and `Learned`.

    `unlearnable` counts examples, `failures` those by cause since the last window closed.
    """

    fingerprint: str
    evaluator: Evaluator
    alarm: ErrorAlarm
    unlearnable: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def obey(self, offset: int, control: Control, start: Learned | None = None) -> None:
        """As `Obedience`; predictions of the versions that count from then on are judged apart from those of others."""
        Obedience.obey(self, offset, control, start)
        if control.act in SWITCHES:
            self.evaluator.turn()


def new_state(pipeline: Pipeline, fingerprint: str) -> LearnerState:
    """A learner that has seen nothing."""
    length = pipeline.window // timedelta(milliseconds=1)
    thresholds = pipeline.thresholds
    return LearnerState(
        fingerprint=fingerprint,
        model=pipeline.model(),
        evaluator=Evaluator(length, thresholds.decision),
        alarm=ErrorAlarm(thresholds.adwin_delta, quiet=length),
    )


def _configured(state: LearnerState, pipeline: Pipeline) -> LearnerState:
    """What is not part of the fingerprint is as the pipeline says now, not as it was at the checkpoint."""
    state.evaluator.length = pipeline.window // timedelta(milliseconds=1)
    state.evaluator.decision = pipeline.thresholds.decision
    if state.alarm.delta != pipeline.thresholds.adwin_delta:
        state.alarm = ErrorAlarm(pipeline.thresholds.adwin_delta, state.evaluator.length)
    return state


class Learner:
    """Learns example by example. Not thread-safe."""

    def __init__(self, pipeline: Pipeline, fingerprint: str, state: LearnerState | None = None) -> None:
        self.state = new_state(pipeline, fingerprint) if state is None else _configured(state, pipeline)
        self._pipeline = pipeline
        self._fingerprint = fingerprint
        self._decision = pipeline.thresholds.decision

    def learn(self, offset: int, example: Example) -> list[Output]:
        """Judge the served prediction, then learn from the label; return what there is to report.

        While learning is held, it is judged only; so is an example of another pipeline fingerprint. If the model
        raises, the example is counted and skipped: a River model raises before it changes, but in a chain the steps
        before the failing one have then learned the example's features. A replay fails and goes on in the same way.
        """
        state = self.state
        closed = state.evaluator.add(example, former=state.is_former(example.model_version))
        outputs = [output for window in closed for output in self._report(window)] if closed else []
        rise = state.alarm.update((example.score >= self._decision) is not example.label, example.label_time)
        if rise is not None:
            outputs.append(self._alarm(example, rise.before, rise.after, rise.n))
        if state.held:
            return outputs
        if example.fingerprint != self._fingerprint:
            return outputs + self.skip(offset, "fingerprint", example.label_time)
        try:
            state.learn(offset, example)
        except Exception as error:  # whatever a model raises must not stop the log
            return outputs + self.skip(offset, type(error).__name__, example.label_time)
        return outputs

    def skip(self, offset: int, cause: str, time: int | None = None) -> list[Output]:
        """Count an example that cannot be learned; report the first of each cause in a window, later ones by number."""
        state = self.state
        state.unlearnable += 1
        state.failures[cause] = state.failures.get(cause, 0) + 1
        if state.failures[cause] > 1:
            return []
        time = max(state.evaluator.watermark, 0) if time is None else time
        found = Measurement("unlearnable", cause, time, time, 1, 1.0, Judgement(0.0, True), f"offset {offset}")
        return [found.output(self._pipeline.name)]

    def _alarm(self, example: Example, before: float, after: float, n: int) -> Output:
        time = example.label_time
        found = Measurement(
            "alarm", "error_rate", time, time, n, after, Judgement(before, True), "ADWIN", example.model_version
        )
        return found.output(self._pipeline.name)

    def _report(self, closed: Closed) -> list[Output]:
        found = self._performance(closed) + self._baselines(closed) + self._failures(closed)
        return [measurement.output(self._pipeline.name) for measurement in found]

    def _performance(self, closed: Closed) -> list[Measurement]:
        window, total, former = closed
        found = []
        for name in self._pipeline.metrics:
            value = window.values.get(name)
            verdict = judge(name, value, self._pipeline.thresholds)
            found += [
                self._measured("performance", name, window)._replace(judgement=verdict),
                self._measured("cumulative", name, total),
            ]
            if former is not None:
                found.append(self._measured("performance", name, former)._replace(reference=FORMER))
        return found

    def _baselines(self, closed: Closed) -> list[Measurement]:
        return [self._measured("baseline", name, closed.window) for name in BASELINES]

    @staticmethod
    def _measured(kind: Kind, name: str, report: Report) -> Measurement:
        start, end, n, version, values = report
        return Measurement(kind, name, start, end, n, values.get(name), model_version=version)

    def _failures(self, closed: Closed) -> list[Measurement]:
        window, failures = closed.window, self.state.failures
        self.state.failures = {}
        return [
            Measurement("unlearnable", cause, window.start, window.end, count, float(count), Judgement(0.0, True))
            for cause, count in failures.items()
        ]
