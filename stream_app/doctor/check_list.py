"""The list of all checks, in the order in which they are run: what others build on comes first."""

from stream_app.doctor import (
    cluster_checks,
    group_checks,
    key_checks,
    machine_checks,
    model_checks,
    producer_checks,
    record_count_checks,
    registry_checks,
    settings_checks,
    store_checks,
    topic_checks,
)
from stream_app.doctor.runner import Check

CHECKS = (
    Check("settings", settings_checks.check_settings),
    Check("machine", machine_checks.check_versions),
    Check("machine", machine_checks.check_disks),
    Check("machine", machine_checks.check_embedded_broker),
    Check("pipeline", model_checks.check_pipeline),
    Check("store", store_checks.check_store),
    Check("keys", key_checks.check_keys),
    Check("cluster", cluster_checks.check_connection),
    Check("cluster", cluster_checks.check_second_client),
    Check("cluster", cluster_checks.check_broker_limits),
    Check("topics", topic_checks.check_shape),
    Check("topics", topic_checks.check_settings),
    Check("topics", cluster_checks.check_clock),
    Check("producers", producer_checks.check_partitioner),
    Check("registry", registry_checks.check_registry),
    Check("workers", group_checks.check_members),
    Check("workers", group_checks.check_offsets),
    Check("workers", record_count_checks.check_books),
    Check("model", model_checks.check_version),
)
