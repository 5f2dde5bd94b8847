"""Status of a pipeline, from the cluster and from the workers of this machine.

- `status_model`: the status as data, which is also the JSON of `stream-app status`.
- `cluster_view`: consumer groups and offsets of topics.
- `pipeline_view`: everything that the cluster tells about one pipeline.
- `record_counts_reading`: record counts of the scorers, and of the last minutes.
- `measurements`: alarms, corrective actions and label coverage.
- `alarm_status`: alarms of the monitor with their states.
- `window_status`: watermarks of the partitions, and what holds windows of the monitor back.
- `worker_status`: workers of each role, their lag and rates.
- `problems`: sentences about what is wrong.
- `status_watcher`: puts a status together, repeatedly.
- `status_rendering`: the status as text.
"""
