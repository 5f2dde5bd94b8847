"""Monitoring: drift, label delays, alarms, corrective actions and the audit.

- `window_monitor`: monitors inputs, scores and labels per window of event time.
- `distribution_monitor`: compares histograms of variables with references.
- `drift`: population stability index, and ADWIN on errors.
- `constant_score`: versions that give different events the same score.
- `delay_quantiles`: quantiles of label delays.
- `alarms`: alarms that last for some time, and corrective actions, counted.
- `audit_entry`: entries of the audit.
"""
