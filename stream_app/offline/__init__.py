"""Pipelines without Kafka: simulation over files, training from files, export of examples.

In memory:
    engine: scorer, learner and monitor in one process; reasons why an example was not learned.
    record_outcomes: outcomes of events and labels.
    timeline: events and labels of files in the order in which they become known.
Simulation (`stream-app try`):
    simulation, stage_timing, simulation_summary, simulation_rendering.
    proposed_bounds: bounds of numeric fields that declare none.
Training (`stream-app train`):
    training: model, metrics and distributions from a simulation.
    version_publishing: publishes the model as a version.
Export (`stream-app export`):
    example_export: from the log to Parquet, CSV and JSON lines.
"""
