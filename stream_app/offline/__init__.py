"""Pipelines in memory: simulation over files, training from files or topics; export.

In memory:
    engine: scorer, learner and monitor in one process; reasons why an example was not learned.
    record_outcomes: outcomes of events and labels.
    timeline: events and labels of files in the order in which they become known.
    log_order: several logs as one, in bounded memory.
    topic_lines: events and labels of topics.
    ingesting: records of a source as `ingest` would forward them.
Simulation (`stream-app try`):
    simulation, stage_timing, simulation_summary, simulation_rendering.
    proposed_bounds: bounds of numeric fields that declare none.
Training (`stream-app train`):
    topic_simulation: simulation over topics.
    training: model, metrics and distributions from a simulation.
    version_publishing: publishes the model as a version.
Calibration (`stream-app monitor calibrate`):
    threshold_calibration: alarms that thresholds would have raised, and proposed limits.
Export (`stream-app export`):
    example_export: from the log to Parquet, CSV and JSON lines.
"""
