"""Validates and identifies the declaration of a pipeline.

Files:
    validation: rules of a pipeline, its schemas, label and model.
    policy_rules: rules of retries, breaker, fallback, limits and metric thresholds.
    misnamed_fields: explanation of a call with an unknown, missing or unnamed field.
    requirements: functions by which a rule is stated.
    pipeline_fingerprint: hash of everything that a pipeline computes.
    function_sources: source text of functions and of the code that they use.
"""
