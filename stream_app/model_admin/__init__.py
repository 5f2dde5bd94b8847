"""Administration of model versions and alarms: decisions, checks, comparisons, verification.

- `topic_admin`: client that reads topics, and writes decisions to them in transactions.
- `model_admin`: client that reads registry, log and audit, and writes decisions in transactions;
  deletion of artifacts that nothing names.
- `decisions`: rollback, promote, pin, unpin, pause and resume; status of learning.
- `alarm_admin`: acknowledge, silence and unsilence alarms of the monitor.
- `key_admin`: create, rotate and revoke signing keys.
- `version_checks`: loads versions and evaluates them on the newest examples.
- `version_diff`: differences between manifests and between models.
- `verification`: relearns a version from the log and compares.
- `model_rendering`: all of it as text and JSON.
"""
