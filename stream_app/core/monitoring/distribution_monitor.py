"""Watching the distributions of a group of variables, window by window, against a fixed and a trailing reference."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from stream_app.core.monitoring.drift import StabilityIndex, stability
from stream_app.core.monitoring.histogram import MISSING, Bins, ReferenceSample

REFERENCE_MIN = 500  # records that a reference needs, and a sample keeps at most:
REFERENCE_MAX = 2000
SAMPLED_VALUES = 20_000  # in all variables together, which bounds the state
WINDOW_MIN = 100  # records below which a window is not compared


class DriftFinding(NamedTuple):
    """One variable of one window compared with a reference."""

    name: str
    reference: Literal["fixed", "trailing"]
    n: int
    stability: StabilityIndex


class DistributionMonitor:
    """Variables that come together, such as the features of a record.

    Records are a reference sample until a window closes with at least 500 of them; then the reference is fixed for good
    and later records are counted per window. The trailing reference is the last window that was large enough.
    """

    def __init__(self, significance: float) -> None:
        self._significance = significance
        self._offered = 0
        self._samples: dict[str, ReferenceSample] = {}
        self._bins: dict[str, Bins] = {}
        self._windows: dict[int, dict[str, list[int]]] = {}
        self._trailing: dict[str, list[int]] = {}

    def add(self, window: int, variables: Mapping[str, Any]) -> None:
        """Note a record of the window that starts at `window`."""
        if not self._bins:
            self._sample(variables)
            return
        counts = self._windows.get(window)
        if counts is None:
            counts = self._windows[window] = {
                name: [0] * len(bins.counts) for name, bins in self._bins.items()
            }
        for name, bins in self._bins.items():
            counts[name][bins.index(variables.get(name, MISSING))] += 1

    def close(self, window: int) -> list[DriftFinding]:
        """Compare a window that is complete, and forget it; without a reference, make one if there is enough."""
        counts = self._windows.pop(window, None)
        if counts is None:
            if not self._bins and self._offered >= REFERENCE_MIN:
                self._bins = {
                    name: Bins.of(sample, self._offered) for name, sample in self._samples.items()
                }
                self._samples = {}
            return []
        if sum(next(iter(counts.values()))) < WINDOW_MIN:
            return []
        findings = [finding for name in counts for finding in self._compare(name, counts[name])]
        self._trailing = counts
        return findings

    def to_state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "offered": self._offered,
            "samples": {
                name: [s.limit, s.values, s.stride, s.seen] for name, s in self._samples.items()
            },
            "bins": {name: bins.to_state() for name, bins in self._bins.items()},
            "windows": {str(window): counts for window, counts in self._windows.items()},
            "trailing": self._trailing,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], significance: float) -> "DistributionMonitor":
        """From `to_state`."""
        watch = cls(significance)
        watch._offered = state["offered"]
        watch._samples = {
            name: ReferenceSample(*values) for name, values in state["samples"].items()
        }
        watch._bins = {name: Bins.from_state(bins) for name, bins in state["bins"].items()}
        watch._windows = {int(window): counts for window, counts in state["windows"].items()}
        watch._trailing = state["trailing"]
        return watch

    def _sample(self, variables: Mapping[str, Any]) -> None:
        self._offered += 1
        for name, value in variables.items():
            sample = self._samples.get(name)
            if sample is None:
                sample = self._samples[name] = ReferenceSample(
                    min(REFERENCE_MAX, SAMPLED_VALUES // len(variables))
                )
            sample.add(value)

    def _compare(self, name: str, counts: list[int]) -> list[DriftFinding]:
        n = sum(counts)
        fixed = stability(self._bins[name].counts, counts, self._significance)
        findings = [DriftFinding(name, "fixed", n, fixed)]
        if name in self._trailing:
            trailing = stability(self._trailing[name], counts, self._significance)
            findings.append(DriftFinding(name, "trailing", n, trailing))
        return findings
