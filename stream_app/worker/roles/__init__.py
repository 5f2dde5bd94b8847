"""Roles of workers: the processing of records between transactions and the core.

- `role_table`: the roles, and the context that the processors of a worker share.
- `score_processor`: scoring of one partition.
- `served_models`: the served version, overrides by replays, and the last good version.
- `event_breaker`: the circuit breaker of a partition's events.
- `learn_processor`: learning from the examples log.
- `learner_recovery`: state of earlier learners, and records of the log that are skipped.
- `control_preparation`: control records, prepared and applied.
- `threshold_policy`: alarms, pauses and rollbacks by declared thresholds.
- `publishing_schedule`: times of versions and checkpoints.
- `version_publisher`: model versions and checkpoints.
- `ingest_processor`, `ingest_state`: forwarding of one partition of a source, and its state.
- `source_fields`: fields that appear in the records of a source.
- `ingest_replay_processor`: dead letters of sources, read again.
- `ingest_outputs`: dead letters of both, and the limit of sizes.
- `monitor_processor`: windows and alarms over all partitions.
- `source_pauses`: pauses of sources that alarms are about.
- `alarm_follower`: states of the alarms of the monitor, as a metric.
- `output_encoders`: outputs as JSON or Avro.
- `reporting`: measurements, log lines and metrics of a task.
"""
