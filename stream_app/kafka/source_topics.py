"""Topics of the sources on the cluster: those that are missing."""

from confluent_kafka.admin import AdminClient

from stream_app.errors import TopicsError
from stream_app.kafka.clients import cluster_topics
from stream_app.pipeline import Pipeline, source_topics


def missing_sources(admin: AdminClient, pipeline: Pipeline) -> TopicsError | None:
    """Return the error of sources whose topics this user cannot see, None if it sees them all.

    A broker hides topics from users without rights on them.
    """
    topics = cluster_topics(admin).topics
    missing = [
        name
        for name in source_topics(pipeline)
        if name not in topics or not topics[name].partitions
    ]
    if not missing:
        return None
    return TopicsError(
        f"The topic of a source does not exist or must not be read: {', '.join(missing)}",
        "Correct Source.topic, or grant this user the rights that `stream-app acl show PIPELINE "
        "--role ingester` lists",
    )
