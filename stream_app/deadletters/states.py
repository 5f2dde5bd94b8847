"""What became of dead letters, for those who look at them."""

from stream_app.clients.kafka import ConnectionErrors, bootstrap_servers, client_config, make_consumer
from stream_app.clients.offsets import find_partitions
from stream_app.deadletters.ledger import Ledger
from stream_app.errors import TopicsError
from stream_app.settings import Settings
from stream_app.streaming.log import LogReader
from stream_app.topics import topic_name


def read_ledger(settings: Settings, pipeline: str) -> Ledger:
    """What has been done about the dead letters of the pipeline so named; nothing if it has no topic for that yet.

    Raises `AccessError` if it may not be read, `KafkaUnavailableError` if the cluster is away.
    """
    errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
    consumer = make_consumer(settings, errors)
    try:
        find_partitions(consumer, errors, [topic_name(pipeline, "replays")])
    except TopicsError:
        return Ledger(())
    finally:
        consumer.close()
    return Ledger.read(LogReader({**client_config(settings), "error_cb": errors}, f"{pipeline}-score"), pipeline)
