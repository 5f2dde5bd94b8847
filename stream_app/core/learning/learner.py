"""The learner: judge what was served, watch the errors, then learn; a pure function of the examples log."""

from dataclasses import dataclass, field
from datetime import timedelta

from stream_app.core.evaluation.evaluator import ClosedWindow, Evaluator, WindowReport
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.evaluation.thresholds import ThresholdFindings, ThresholdState, verdict
from stream_app.core.example import Example
from stream_app.core.learning.control_record import SWITCHES, Control
from stream_app.core.learning.control_state import ControlState
from stream_app.core.learning.learned_model import LearnedModel
from stream_app.core.measurement import Kind, LimitCheck, Measurement
from stream_app.core.monitoring.drift import ErrorAlarm
from stream_app.pipeline import Pipeline
from stream_app.records import Output

FORMER = "former versions"
"""What a performance is of whose predictions come from versions that a decision has led away from."""

SHAPE = 2
"""Of the state; one of another shape, as earlier releases left, cannot go on."""


@dataclass(slots=True, kw_only=True)
class LearnerState(ControlState):
    """All that a learner knows, and all that a checkpoint holds; see also `ControlState` and `LearnedModel`.

    `unlearnable` counts examples, `failures` those by cause since the last window closed.
    """

    fingerprint: str
    evaluator: Evaluator
    alarm: ErrorAlarm
    unlearnable: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    watching: ThresholdState = field(default_factory=ThresholdState)

    def obey(self, offset: int, control: Control, start: LearnedModel | None = None) -> None:
        """As `ControlState`; predictions of the versions that count from then on are judged apart from those of others."""
        ControlState.obey(self, offset, control, start)
        if control.act in SWITCHES:
            self.evaluator.turn()


def new_state(pipeline: Pipeline, fingerprint: str) -> LearnerState:
    """A learner that has seen nothing."""
    length = pipeline.window // timedelta(milliseconds=1)
    thresholds = pipeline.thresholds
    return LearnerState(
        fingerprint=fingerprint,
        model=pipeline.model(),
        evaluator=Evaluator(length, task_of(pipeline)),
        alarm=ErrorAlarm(thresholds.adwin_delta, quiet=length),
    )


def _configured(state: LearnerState, pipeline: Pipeline) -> LearnerState:
    """What is not part of the fingerprint is as the pipeline says now, not as it was at the checkpoint."""
    state.evaluator.length = pipeline.window // timedelta(milliseconds=1)
    state.evaluator.task = task_of(pipeline)
    if state.alarm.delta != pipeline.thresholds.adwin_delta:
        state.alarm = ErrorAlarm(pipeline.thresholds.adwin_delta, state.evaluator.length)
    return state


class Learner:
    """Learns example by example. Not thread-safe."""

    def __init__(
        self, pipeline: Pipeline, fingerprint: str, state: LearnerState | None = None
    ) -> None:
        self.state = (
            new_state(pipeline, fingerprint) if state is None else _configured(state, pipeline)
        )
        self._pipeline = pipeline
        self._fingerprint = fingerprint
        self._task = self.state.evaluator.task
        self._findings: list[ThresholdFindings] = []

    def learn(self, offset: int, example: Example) -> list[Output]:
        """Judge the served prediction, then learn from the label; return what there is to report.

        While learning is held, it is judged only; so is an example of another pipeline fingerprint. If the model
        raises, the example is counted and skipped: a River model raises before it changes, but in a chain the steps
        before the failing one have then learned the example's features. A replay fails and goes on in the same way.
        """
        state = self.state
        closed = state.evaluator.add(example, offset, former=state.is_former(example.model_version))
        outputs = [output for window in closed for output in self._report(window)] if closed else []
        rise = state.alarm.update(state.evaluator.error(example), example.label_time)
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
        found = Measurement(
            "unlearnable", cause, time, time, 1, 1.0, LimitCheck(0.0, True), f"offset {offset}"
        )
        return [found.output(self._pipeline.name)]

    def decided(self, control: Control) -> None:
        """A decision has come in the log, void or not: after one about versions or a resumption, thresholds rest."""
        if control.act in SWITCHES or control.act == "resume":
            self.state.watching.decided(
                self._pipeline.thresholds.metrics, self.state.evaluator.watermark
            )

    def take_findings(self) -> list[ThresholdFindings]:
        """What the windows that were closed since this was last called say about the thresholds, oldest first."""
        found, self._findings = self._findings, []
        return found

    def _alarm(self, example: Example, before: float, after: float, n: int) -> Output:
        time = example.label_time
        found = Measurement(
            "alarm",
            self._task.alarm,
            time,
            time,
            n,
            after,
            LimitCheck(before, True),
            "ADWIN",
            example.model_version,
        )
        return found.output(self._pipeline.name)

    def _report(self, closed: ClosedWindow) -> list[Output]:
        state, thresholds = self.state, self._pipeline.thresholds.metrics
        self._findings.append(
            state.watching.close(thresholds, closed.window, state.laboratory, held=state.held)
        )
        found = self._performance(closed) + self._baselines(closed) + self._failures(closed)
        return [measurement.output(self._pipeline.name) for measurement in found]

    def _performance(self, closed: ClosedWindow) -> list[Measurement]:
        window, total, former = closed
        found = []
        for name in self._pipeline.metrics:
            said = verdict(self._pipeline.thresholds.metrics, name, window, self.state.laboratory)
            found += [
                self._measured("performance", name, window)._replace(judgement=said),
                self._measured("cumulative", name, total),
            ]
            if former is not None:
                found.append(self._measured("performance", name, former)._replace(reference=FORMER))
        return found

    def _baselines(self, closed: ClosedWindow) -> list[Measurement]:
        return [self._measured("baseline", name, closed.window) for name in self._task.baselines]

    @staticmethod
    def _measured(kind: Kind, name: str, report: WindowReport) -> Measurement:
        start, end, n, version, values, _ = report
        return Measurement(kind, name, start, end, n, values.get(name), model_version=version)

    def _failures(self, closed: ClosedWindow) -> list[Measurement]:
        window, failures = closed.window, self.state.failures
        self.state.failures = {}
        return [
            Measurement(
                "unlearnable",
                cause,
                window.start,
                window.end,
                count,
                float(count),
                LimitCheck(0.0, True),
            )
            for cause, count in failures.items()
        ]
