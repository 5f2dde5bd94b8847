"""Administration of model versions: decisions about them, and checks, comparisons and verification.

- `model_admin`: client that reads registry, log and audit, and writes decisions in transactions;
  deletion of artifacts that nothing names.
- `decisions`: rollback, promote, pin, unpin, pause and resume; status of learning.
- `key_admin`: create, rotate and revoke signing keys.
- `version_checks`: loads versions and evaluates them on the newest examples.
- `version_diff`: differences between manifests and between models.
- `verification`: relearns a version from the log and compares.
- `model_rendering`: all of it as text and JSON.
"""
