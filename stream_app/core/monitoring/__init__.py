"""Monitoring: windows, drift, label delays, alarms, corrective actions and the audit.

- `log_alignment`: how far the monitor may read its logs, and the times that all partitions passed.
- `partition_watermark`: watermarks of partitions, and the command that changes windows.
- `window_lengths`: lengths of windows, chosen once and changed by command.
- `window_monitor`: monitors inputs, scores and labels per window of event time.
- `hashed_sample`: sample of records that does not depend on their order.
- `distribution_monitor`: compares histograms of variables with references.
- `drift`: population stability index of two histograms.
- `constant_score`: versions that give different events the same score.
- `delay_quantiles`: quantiles of label delays.
- `alarms`: alarms that last for some time, and corrective actions, counted.
- `audit_entry`: entries of the audit.
"""
