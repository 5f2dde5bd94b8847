"""The list of all checks, in the order in which they are run: what others build on comes first."""

from stream_app.doctor import (
    cluster,
    groups,
    keys,
    machine,
    model,
    producers,
    progress,
    registry,
    settings,
    store,
    topics,
)
from stream_app.doctor.runner import Check

CHECKS = (
    Check("settings", settings.check_settings),
    Check("machine", machine.check_versions),
    Check("machine", machine.check_disks),
    Check("machine", machine.check_embedded_broker),
    Check("pipeline", model.check_pipeline),
    Check("store", store.check_store),
    Check("keys", keys.check_keys),
    Check("cluster", cluster.check_connection),
    Check("cluster", cluster.check_second_client),
    Check("cluster", cluster.check_broker_limits),
    Check("topics", topics.check_shape),
    Check("topics", topics.check_settings),
    Check("topics", cluster.check_clock),
    Check("producers", producers.check_partitioner),
    Check("registry", registry.check_registry),
    Check("workers", groups.check_members),
    Check("workers", groups.check_offsets),
    Check("workers", progress.check_books),
    Check("model", model.check_version),
)
