"""Telemetry of a process.

- `metrics`: every Prometheus metric, with its labels.
- `labelled_metrics`: labels that are the same for all metrics of a process.
- `logs`: structured logs on standard error.
- `operator_identity`: user and host that records of operations name.
"""
