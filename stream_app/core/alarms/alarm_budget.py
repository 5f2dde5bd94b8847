"""False alarms per year: one number, divided over the kinds of alarms and their detectors."""

from dataclasses import dataclass
from typing import Literal

AlarmKind = Literal["flips", "volume", "coverage", "inputs"]

# Shares of the budget; the rest is a reserve for kinds to come.
SHARES: dict[str, float] = {"flips": 0.1, "volume": 0.3, "coverage": 0.3}

MAX_FALSE_PER_YEAR = 1000
"""Largest number of false alarms per year that can be asked for."""

HOURS_A_YEAR = 8760.0
DAYS_A_YEAR = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmBudget:
    """Number of false alarms that a pipeline may raise per year, on average.

    Drift of inputs is only reported and pages nobody, so it has a budget of its own.

    >>> budget = AlarmBudget(false_per_year=1)
    >>> budget.rate("flips", detectors=2), budget.rate("volume", detectors=1)
    (0.05, 0.3)
    >>> round(budget.limit("volume", detectors=3, restarts_per_year=365))
    3650

    Attributes:
        false_per_year: false alarms per year of everything but inputs.
        inputs_per_year: false reports per year of drifting inputs.
    """

    false_per_year: float = 1.0
    inputs_per_year: float = 10.0

    def __post_init__(self) -> None:
        for name in ("false_per_year", "inputs_per_year"):
            value = getattr(self, name)
            if not 0 < value <= MAX_FALSE_PER_YEAR:
                raise ValueError(
                    f"{name} must be more than 0 and at most {MAX_FALSE_PER_YEAR}, not {value}"
                )

    def rate(self, kind: AlarmKind, detectors: int) -> float:
        """Return the false alarms per year of one detector.

        Args:
            kind: kind of alarms.
            detectors: number of detectors of the kind when they start, at least 1.
        """
        if kind == "inputs":
            return self.inputs_per_year / detectors
        return self.false_per_year * SHARES[kind] / detectors

    def limit(self, kind: AlarmKind, detectors: int, restarts_per_year: float) -> float:
        """Return the evidence at which one detector raises an alarm.

        Args:
            kind: kind of alarms.
            detectors: number of detectors of the kind when they start, at least 1.
            restarts_per_year: number of times per year at which the detector begins a bet.
        """
        return restarts_per_year / self.rate(kind, detectors)
