"""Checks of everything that a pipeline needs; each result of a problem says how to fix it.

A check is a function that takes a `DoctorContext` and yields `CheckResult`s; `runner.CHECKS` lists
all of them in order.

- `context`: settings, pipeline and cluster, loaded on first use; results of checks.
- `machine_checks`: settings, Python and packages, disks, the embedded broker.
- `cluster_checks`: connections of both Kafka clients, brokers' settings, clocks.
- `topic_checks`: partitions, settings and replication of topics; keys and values that producers
  write.
- `source_checks`: newest records of sources.
- `worker_checks`: members and offsets of consumer groups; record counts of the scorers.
- `watermark_checks`: watermarks that scorers publish for the monitor.
- `model_checks`: pipeline file, artifact store, signing keys, schema registry, served version.
- `runner`: the list of checks, how they run, and the report as text.
"""
