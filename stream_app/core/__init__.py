"""Pure core: no Kafka, no clock, no I/O; time is an argument. Packages in the order of the flow.

- `reading`: bytes become events and labels.
- `scoring`: events become scored records; labels join their predictions.
- `learning`: labelled examples become a model.
- `evaluation`: predictions are compared with their labels.
- `alarms`: evidence that labels, inputs or volumes are not as they were.
- `monitoring`: windows, drift, alarms, corrective actions and the audit.
- `examples`: labelled examples.
- `published_records`: scored records and measurements, which the packages exchange.
"""
