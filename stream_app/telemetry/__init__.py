"""Telemetry of a process.

- `metrics`: every Prometheus metric, with its labels.
- `logs`: structured logs on standard error; user and host that records of operations name.
"""
