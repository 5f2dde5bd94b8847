#!/bin/sh
# Formats a new volume, with the one user that may connect, and runs Kafka.
set -eu
config="$(dirname "$0")/server.properties"

if [ ! -e /var/lib/kafka/data/meta.properties ]; then
    password="$(cat /run/secrets/kafka_password)"
    /opt/kafka/bin/kafka-storage.sh format --standalone --config "$config" \
        --cluster-id "$(/opt/kafka/bin/kafka-storage.sh random-uuid)" \
        --add-scram "SCRAM-SHA-512=[name=stream-app,password=$password]"
fi
exec /opt/kafka/bin/kafka-server-start.sh "$config"
