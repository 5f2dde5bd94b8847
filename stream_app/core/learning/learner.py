"""Learner: evaluates served predictions, monitors their errors, then learns from the labels.

The state after a record is a function of the examples log alone.
"""

from collections.abc import Callable, Iterable, Iterator

from stream_app.core.evaluation.evaluator import ClosedWindow, WindowReport
from stream_app.core.evaluation.thresholds import ThresholdFindings, check_metric
from stream_app.core.examples import Example, label_source
from stream_app.core.learning.control_commands import VERSION_CHANGES, Control
from stream_app.core.learning.finite_learning import NotFiniteError
from stream_app.core.learning.learner_state import LearnedModel, LearnerState
from stream_app.core.published_records import Kind, LimitCheck, Measurement
from stream_app.core.reading.event_time import NEVER
from stream_app.pipeline import Pipeline
from stream_app.records import Output

# Reference of a performance measurement of predictions by versions that a decision moved away from.
SUPERSEDED = "superseded versions"
# Reference of one of predictions that have a real label, in a window with assumed ones.
LABELLED = "labelled"

# Cause of an example after which the model would not be finite, and the alarm about it.
NOT_FINITE = "not-finite"
NOT_FINITE_ALARM = "example-not-finite"
# Number of such examples that are named one by one in a window; further ones are counted.
MAX_NAMED = 100

EVALUATION_ALARM = "evaluation-failed"
CONSTANT_SCORE_ALARM = "constant-score"

# Number of examples that are relearned between two yields of `Learner.apply`.
RELEARN_CHUNK = 100

LoadVersion = Callable[[int], LearnedModel]
"""Returns the model of a version. Raises `ModelError` if it cannot be loaded."""

ReadExamples = Callable[[int, int], Iterable[tuple[int, Example | None]]]
"""Returns the examples from one offset up to another (exclusive), each with its offset.

A skipped example is None.
"""


class Learner:
    """Learns example by example. Not thread-safe.

    Args:
        pipeline: loaded pipeline.
        fingerprint: fingerprint of its declaration.
        state: state to continue from; None for a new one.
    """

    def __init__(
        self, pipeline: Pipeline, fingerprint: str, state: LearnerState | None = None
    ) -> None:
        if state is None:
            state = LearnerState.new(pipeline, fingerprint)
        else:
            state.configure(pipeline)
        self.state = state
        self._pipeline = pipeline
        self._fingerprint = fingerprint
        self._task = state.evaluator.task
        self._findings: list[ThresholdFindings] = []

    def learn(self, offset: int, example: Example) -> list[Output]:
        """Evaluate the served prediction, then learn from the label.

        While learning is paused, the example is evaluated only; so is one whose source is paused,
        one that is excluded, and one of another fingerprint.
        If the evaluation raises, that is counted and reported, and the example is learned. If the
        model raises, the example is counted and skipped. A River model raises before it changes,
        but in a chain the steps before the failing one have then learned the features; a replay of
        the log fails and continues in the same way. An example after which the model would not be
        finite leaves the model as it was.

        Args:
            offset: offset of the example in the log.
            example: event, served prediction and label.

        Returns:
            Measurements to publish.
        """
        state = self.state
        try:
            outputs = self._evaluate(offset, example)
        except Exception as error:  # an error in the evaluation must not stop learning
            outputs = self._evaluation_failed(offset, example, error)
        if state.control.is_limited:
            reason = state.control.not_learned(example.label_time, label_source(example))
            if reason is not None:
                state.not_learned[reason] = state.not_learned.get(reason, 0) + 1
                return outputs
        if example.fingerprint != self._fingerprint:
            return outputs + self.skip(offset, "fingerprint", example.label_time)
        try:
            state.learned.learn(offset, example)
        except NotFiniteError:
            return outputs + self._reject(offset, example)
        except Exception as error:  # a model may raise anything, which must not stop the log
            return outputs + self.skip(offset, type(error).__name__, example.label_time)
        return outputs

    def skip(self, offset: int, cause: str, time: int | None = None) -> list[Output]:
        """Count an example that cannot be learned.

        Returns:
            A measurement of the first example of each cause in a window; later ones are reported as
            a number when the window closes.
        """
        state = self.state
        state.unlearnable += 1
        if not state.control.paused:
            state.learned.note_unlearned(offset)
        state.failures[cause] = state.failures.get(cause, 0) + 1
        if state.failures[cause] > 1:
            return []
        if time is None:
            time = 0 if state.evaluator.watermark == NEVER else state.evaluator.watermark
        return [self._unlearnable(cause, time, f"offset {offset}")]

    def _evaluate(self, offset: int, example: Example) -> list[Output]:
        """Count the served prediction, and return the measurements of windows and alarms."""
        state, outputs = self.state, list[Output]()
        evaluator = state.evaluator
        evaluator.count(
            example, offset, superseded=state.control.is_superseded(example.model_version)
        )
        if evaluator.is_due:
            outputs += [
                found for window in evaluator.close(offset) for found in self._report(window)
            ]
        # An untrained model and the rule of a fallback may give every event the same score.
        if example.model_version > 0:
            equal = state.constant_score.update(
                example.model_version, example.score, example.features
            )
            if equal:
                score = example.score if isinstance(example.score, float) else None
                outputs.append(
                    self._event(CONSTANT_SCORE_ALARM, example, equal, score, "equal scores")
                )
        return outputs

    def _evaluation_failed(self, offset: int, example: Example, error: Exception) -> list[Output]:
        """Count a failed evaluation; alarms at the first one and whenever their number doubles."""
        self.state.unevaluated = n = self.state.unevaluated + 1
        if n & (n - 1):
            return []
        where = f"offset {offset}: {type(error).__name__}"
        return [self._event(EVALUATION_ALARM, example, n, None, where)]

    def _reject(self, offset: int, example: Example) -> list[Output]:
        """Count an example after which the model would not be finite, name it, and alarm."""
        found, where = self.skip(offset, NOT_FINITE, example.label_time), f"offset {offset}"
        n = self.state.failures[NOT_FINITE]
        if found:
            found.append(self._event(NOT_FINITE_ALARM, example, n, None, where))
        elif n <= MAX_NAMED:
            found.append(self._unlearnable(NOT_FINITE, example.label_time, where))
        return found

    def apply(
        self, offset: int, control: Control, load: LoadVersion, read: ReadExamples
    ) -> Iterator[bool]:
        """Apply a control record, in steps.

        Yields False after each chunk of preparation (loading the selected version, relearning
        examples), and True once, when only the change of the state is left. Resumed after that, it
        changes the state and ends. So a caller can prepare a change between transactions and make
        it inside one; a caller without transactions exhausts the generator.

        A void control record changes nothing, but its thresholds start over as after any other.

        Args:
            offset: offset of the control record, the first record that the state has not processed.
            control: the control record.
            load: returns the version to continue from.
            read: returns the examples to relearn.

        Raises:
            Exception: whatever `load` and `read` raise; the state is unchanged then.
        """
        state = self.state
        void = state.control.is_void(control)
        start = None if void else self._model_to_change(offset, control, load)
        if start is not None and control.since is not None:
            known = start.next_offset
            if control.source is not None:
                known = start.paused_from.get(control.source, known)
            first = max(control.since, known)
            if first < offset:
                yield from self._relearn(start, read(first, offset), control.source)
        yield True
        self.reset_thresholds(control)
        if void:
            return
        state.control.apply(offset, control)
        if start is not None:
            state.learned = start
        state.learned.pause_sources(state.control.rules.paused_sources, offset)
        if control.command in VERSION_CHANGES:
            state.evaluator.supersede()

    def _model_to_change(
        self, offset: int, control: Control, load: LoadVersion
    ) -> LearnedModel | None:
        """Return a model to relearn examples into: the selected version, or a copy of the model.

        None if the control record neither selects a version nor relearns examples.
        """
        state = self.state
        if control.command in VERSION_CHANGES and control.version is not None:
            start = load(control.version)
            # A trained version has learned examples of unknown offsets.
            is_known = start.next_offset > 0 or start.examples == 0
            first = start.next_offset if is_known else offset
            start.pause_sources(state.control.rules.paused_sources, first)
            return start
        if control.command != "resume" or control.since is None:
            return None
        is_still_paused = control.source is not None and state.control.paused
        return None if is_still_paused else state.learned.copied()

    def reset_thresholds(self, control: Control) -> None:
        """Start the thresholds over if the control record says so, also one without effect."""
        if control.resets_thresholds:
            self.state.thresholds.reset(
                self._pipeline.thresholds.metrics, self.state.evaluator.watermark
            )

    def take_findings(self) -> list[ThresholdFindings]:
        """Return and forget the threshold findings of windows closed since the last call."""
        found, self._findings = self._findings, []
        return found

    def _relearn(
        self,
        start: LearnedModel,
        examples: Iterable[tuple[int, Example | None]],
        resumed: str | None,
    ) -> Iterator[bool]:
        """Learn examples that have been evaluated before; those that fail were reported then.

        Args:
            start: model that learns them.
            examples: the examples with their offsets, None in place of a skipped one.
            resumed: source that is resumed, whose examples alone are learned; None for all sources.
        """
        end, rules = start.next_offset, self.state.control.rules
        if resumed is not None:
            rules = rules.resume(resumed)
        for number, (offset, example) in enumerate(examples, 1):
            source = None if example is None else label_source(example)
            if resumed is not None and source != resumed:
                # It was learned, or noted as one that was not, when it came.
                pass
            elif example is not None and rules.reason(example.label_time, source) is not None:
                pass
            elif example is None or example.fingerprint != self._fingerprint:
                start.note_unlearned(offset)
            else:
                try:
                    start.learn(offset, example)
                except Exception:  # a model may raise anything, which must not stop the log
                    start.note_unlearned(offset)
            if number % RELEARN_CHUNK == 0:
                yield False
        start.next_offset = max(start.next_offset, end)

    def _unlearnable(self, cause: str, time: int, where: str) -> Output:
        check = LimitCheck(0.0, True)
        found = Measurement("unlearnable", cause, time, time, 1, 1.0, check, where)
        return found.output(self._pipeline.name)

    def _event(
        self, name: str, example: Example, n: int, value: float | None, reference: str
    ) -> Output:
        """Return an alarm about the moment at which an example was read."""
        time, check = example.label_time, LimitCheck(None, True)
        found = Measurement(
            "alarm", name, time, time, n, value, check, reference, example.model_version
        )
        return found.output(self._pipeline.name)

    def _report(self, closed: ClosedWindow) -> list[Output]:
        state, limits = self.state, self._pipeline.thresholds.metrics
        self._findings.append(
            state.thresholds.close(
                limits, closed.window, state.learned.offline_metrics, paused=state.control.paused
            )
        )
        found = self._performance(closed) + self._baselines(closed) + self._failures(closed)
        found += self._failed_metrics(closed)
        return [measurement.output(self._pipeline.name) for measurement in found]

    def _performance(self, closed: ClosedWindow) -> list[Measurement]:
        window, total, *parts = closed
        limits, offline = self._pipeline.thresholds.metrics, self.state.learned.offline_metrics
        found = []
        for name in self._pipeline.metrics:
            check = check_metric(limits, name, window, offline)
            found += [
                self._measured("performance", name, window)._replace(
                    limit_check=check, interval=window.intervals.get(name)
                ),
                self._measured("cumulative", name, total),
            ]
            for reference, part in zip((SUPERSEDED, LABELLED), parts, strict=True):
                if part is not None:
                    measured = self._measured("performance", name, part)
                    found.append(measured._replace(reference=reference))
        return found

    def _baselines(self, closed: ClosedWindow) -> list[Measurement]:
        return [self._measured("baseline", name, closed.window) for name in self._task.baselines]

    @staticmethod
    def _measured(kind: Kind, name: str, report: WindowReport) -> Measurement:
        start, end, n, version, values, *_ = report
        return Measurement(kind, name, start, end, n, values.get(name), model_version=version)

    @staticmethod
    def _failed_metrics(closed: ClosedWindow) -> list[Measurement]:
        """Return an alarm for each metric that could not be computed."""
        window = closed.window
        failed = {**closed.total.failed, **window.failed}
        return [
            Measurement(
                "alarm",
                EVALUATION_ALARM,
                window.end,
                window.end,
                1,
                None,
                LimitCheck(None, True),
                f"{metric}: {error}",
                window.model_version,
            )
            for metric, error in failed.items()
        ]

    def _failures(self, closed: ClosedWindow) -> list[Measurement]:
        window, failures = closed.window, self.state.failures
        self.state.failures = {}
        breached = LimitCheck(0.0, True)
        return [
            Measurement(
                "unlearnable", cause, window.start, window.end, count, float(count), breached
            )
            for cause, count in failures.items()
        ]
