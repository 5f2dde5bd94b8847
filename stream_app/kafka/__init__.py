"""Access to Kafka: configuration, clients, topics and ACLs.

- `security`: security settings, as options of librdkafka and of aiokafka.
- `tokens`: OAuth tokens of the clients.
- `access_errors`: errors of a cluster that rejects a client, and of missing ACLs.
- `listener_checks`: checks of a listener that closes connections.
- `clients`: options, creation and closing of clients, errors of an unreachable cluster.
- `lost_brokers`: restorer of clients that have forgotten all brokers.
- `offsets`: partitions, beginning and end offsets, offsets by time, last stable offset.
- `corrupt_batches`: ends of batches that librdkafka cannot decompress.
- `partition_reader`: reader of committed records between offsets, or from offsets on.
- `retrying_reader`: reader for workers, which waits out an outage.
- `partitioner`: partition of a key.
- `transient_errors`: errors of requests that pass by themselves.
- `topics`: creation and checks of a pipeline's topics.
- `topic_uses`: contents, writers and readers of each kind of topic.
- `acl`: ACLs of each role.
"""
