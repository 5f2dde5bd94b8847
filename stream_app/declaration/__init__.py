"""Validates and identifies the declaration of a pipeline.

Files:
    validation: rules of a pipeline, its schemas, label and model; misnamed fields.
    policy_rules: rules of retries, breaker, fallback, limits and metric thresholds.
    passed_schema: Avro types of the fields that scored records carry.
    requirements: functions by which a rule is stated.
    pipeline_fingerprint: hash of everything that a pipeline computes, functions included.
"""
